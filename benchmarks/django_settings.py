"""Django's settings for the django-celery-results contenders."""

import os

from psycopg.conninfo import conninfo_to_dict

_store = conninfo_to_dict(os.environ["BENCHMARK_STORE"])

SECRET_KEY = "benchmark"
USE_TZ = True
INSTALLED_APPS = ["django_celery_results"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _store["dbname"],
        "USER": _store.get("user", ""),
        "PASSWORD": _store.get("password", ""),
        "HOST": _store.get("host", ""),
        "PORT": _store.get("port", ""),
    }
}
