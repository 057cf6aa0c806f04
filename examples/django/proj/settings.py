"""Settings. SHOP_DATABASE and SHOP_BROKER name other servers than those of this machine."""

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import django

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only for this example"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "proj.urls"
WSGI_APPLICATION = "proj.wsgi.application"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
STATIC_URL = "static/"
LOGIN_URL = "admin:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "fullresult.django",
    "orders",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(url: str) -> dict[str, object]:
    """A URL as an entry of DATABASES."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # Else a view that has read fails with "database is locked" once a worker has written.
        options = {"transaction_mode": "IMMEDIATE"} if django.VERSION >= (5, 1) else {}
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path),
            "OPTIONS": options,
        }
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": parts.port or "",
        "OPTIONS": options,
    }


DATABASES = {
    "default": {
        **database(os.environ.get("SHOP_DATABASE", f"sqlite://{BASE_DIR / 'shop.db'}")),
        "ATOMIC_REQUESTS": True,
    }
}

CELERY_BROKER_URL = os.environ.get("SHOP_BROKER", "filesystem://")
if CELERY_BROKER_URL == "filesystem://":
    _broker = Path(os.environ.get("SHOP_BROKER_FOLDER", BASE_DIR / "broker"))
    (_broker / "messages").mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "messages"),
        "data_folder_out": str(_broker / "messages"),
        "control_folder": str(_broker / "control"),
    }
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_FULLRESULT_STORAGE = "django://default"
CELERY_FULLRESULT_OUTBOX = "default"
CELERY_FULLRESULT_SCHEDULE_ETA = True
