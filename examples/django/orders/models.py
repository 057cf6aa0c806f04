"""Orders."""

from django.db import models


class Order(models.Model):
    """What somebody wants to have."""

    item = models.CharField(max_length=100)
    paid = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.item
