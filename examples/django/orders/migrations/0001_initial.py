"""The table of orders."""

from django.db import migrations, models

_ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", _ID),
                ("item", models.CharField(max_length=100)),
                ("paid", models.BooleanField(default=False)),
            ],
        ),
    )
