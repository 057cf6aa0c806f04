"""A `fullresult_*` key that does not exist is an error that names the nearest one."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.config import Settings
from fullresult.config.keys import RENAMED
from tests.kit.scripts import run_script


@pytest.fixture
def app() -> Celery:
    return Celery("shop", broker="memory://", set_as_current=False)


def error_of(app: Celery) -> str:
    with pytest.raises(ImproperlyConfigured) as raised:
        Settings.of(app)
    return str(raised.value)


def module_of(**values: Any) -> types.ModuleType:
    module = types.ModuleType("celeryconfig")
    vars(module).update(values)
    return module


def by_attribute(app: Celery, key: str) -> None:
    setattr(app.conf, key, 1)


def by_item(app: Celery, key: str) -> None:
    app.conf[key] = 1


def by_update(app: Celery, key: str) -> None:
    app.conf.update({key: 1})


def by_defaults(app: Celery, key: str) -> None:
    app.add_defaults({key: 1})


def by_defaults_made_later(app: Celery, key: str) -> None:
    app.add_defaults(lambda: {key: 1})


def by_dict(app: Celery, key: str) -> None:
    app.config_from_object({key: 1})


def by_module(app: Celery, key: str) -> None:
    app.config_from_object(module_of(**{key: 1}))


def by_class(app: Celery, key: str) -> None:
    app.config_from_object(type("Config", (), {key: 1}))


WAYS = [
    *(by_attribute, by_item, by_update, by_defaults, by_defaults_made_later),
    *(by_dict, by_module, by_class),
]


@pytest.mark.parametrize("configure", WAYS)
def test_a_key_that_does_not_exist_is_an_error_that_names_the_nearest(
    app: Celery, configure: Any
) -> None:
    configure(app, "fullresult_retentoin")

    assert error_of(app) == (
        "there is no setting fullresult_retentoin: the nearest is fullresult_retention"
    )


@pytest.mark.parametrize("configure", WAYS)
def test_it_is_found_after_the_configuration_was_read_as_well(app: Celery, configure: Any) -> None:
    assert app.conf.broker_url == "memory://"

    configure(app, "fullresult_retentoin")

    assert "fullresult_retention" in error_of(app)


@pytest.mark.parametrize("configure", [by_dict, by_module, by_class])
def test_with_a_namespace_the_keys_are_named_as_they_are_written_there(configure: Any) -> None:
    app = Celery("shop", namespace="CELERY", set_as_current=False)
    configure(app, "CELERY_FULLRESULT_IGNORED")

    assert error_of(app) == (
        "there is no setting CELERY_FULLRESULT_IGNORED: the nearest is CELERY_FULLRESULT_IGNORE"
    )


def test_a_namespace_in_lower_case_has_keys_in_lower_case(app: Celery) -> None:
    app.config_from_object({"proj_fullresult_ignored": 1}, namespace="proj")

    assert "proj_fullresult_ignore" in error_of(app).split(": ")[1]


def test_with_a_namespace_celery_reads_keys_without_it_too(app: Celery) -> None:
    app.config_from_object(
        {"CELERY_FULLRESULT_IGNORE": ["shop.noise"], "fullresult_ignored": 1}, namespace="CELERY"
    )

    assert "the nearest is fullresult_ignore" in error_of(app)


@pytest.mark.parametrize("old", RENAMED)
@pytest.mark.parametrize("namespace", ["", "CELERY"])
def test_a_former_name_is_told_the_one_it_has_now(app: Celery, old: str, namespace: str) -> None:
    name, successor = f"fullresult_{old}", f"fullresult_{RENAMED[old]}"
    if namespace:
        name, successor = f"{namespace}_{name.upper()}", f"{namespace}_{successor.upper()}"
    app.config_from_object({name: None}, namespace=namespace)

    assert error_of(app) == f"there is no setting {name}: it is called {successor}"


def test_every_name_that_is_wrong_is_told_at_once(app: Celery) -> None:
    app.conf.update(fullresult_spool=None, fullresult_sweepers="off", fullresult_sweeper="off")

    assert error_of(app) == (
        "there is no setting fullresult_spool: it is called fullresult_spool_directory; "
        "there is no setting fullresult_sweepers: the nearest is fullresult_sweeper"
    )


@pytest.mark.parametrize("key", ["fullresult_", "fullresult_STORAGE", "fullresult_größe"])
def test_whatever_the_key_is_there_is_a_nearest(app: Celery, key: str) -> None:
    app.conf[key] = "sqlite:///records.db"

    assert f"there is no setting {key}: the nearest is fullresult_" in error_of(app)


@pytest.mark.parametrize(
    ("given", "namespace"),
    [
        ({"shop_fullresult_storage": 1}, ""),
        ({"CELERY_FULLRESULT_NOTHING": 1}, ""),
        ({"FULLRESULT_NOTHING": 1}, "CELERY"),
        ({"MY_FULLRESULT_NOTHING": 1, "celery_fullresult_nothing": 1}, "CELERY"),
        ({"fullresults": 1, "fullresult": 1, 7: 1}, ""),
        ({"fullresult_broker_url": "memory://"}, "fullresult"),
    ],
)
def test_keys_that_celery_does_not_read_as_ours_are_none_of_our_business(
    app: Celery, given: dict[Any, Any], namespace: str
) -> None:
    app.config_from_object(given, namespace=namespace)

    assert Settings.of(app).storage == Settings().storage


def test_a_module_of_settings_may_import_our_modules(app: Celery) -> None:
    app.config_from_object(module_of(fullresult_storage_sql=sys, fullresult_use_json=True))

    assert Settings.of(app).use_json


def test_a_module_of_settings_may_define_functions_and_classes(app: Celery) -> None:
    namespace: dict[str, Any] = {}
    exec("def fullresult_hides(call): ...\nclass fullresult_things: ...", namespace)
    app.config_from_object(
        module_of(
            fullresult_hides=namespace["fullresult_hides"],
            fullresult_things=namespace["fullresult_things"],
        )
    )

    assert Settings.of(app).storage == Settings().storage


def test_a_function_that_is_the_value_of_a_misspelt_key_is_an_error(app: Celery) -> None:
    """Or the secrets that it should hide would be recorded."""
    app.conf.fullresult_redacted = module_of

    assert "the nearest is fullresult_redact" in error_of(app)


@pytest.mark.parametrize(
    ("key", "namespace", "remedy"),
    [
        ("FULLRESULT_STORAGE", "", "call it fullresult_storage"),
        ("FULLRESULT_STORAGE", "CELERY", "call it CELERY_FULLRESULT_STORAGE"),
        ("FULLRESULT_SHEDULE_ETA", "CELERY", "call it CELERY_FULLRESULT_SCHEDULE_ETA"),
        ("FULLRESULT_TIMEOUT", "", "call it fullresult_storage_timeout"),
        (
            "CELERY_FULLRESULT_STORAGE",
            "",
            'call it fullresult_storage, or give config_from_object the namespace="CELERY"',
        ),
        ("CELERY_FULLRESULT_STORAGE", "shop", "call it shop_fullresult_storage"),
    ],
)
def test_a_key_in_capitals_that_is_not_read_is_told_its_name(
    app: Celery, key: str, namespace: str, remedy: str
) -> None:
    app.config_from_object({key: "sqlite:///records.db"}, namespace=namespace)

    assert error_of(app) == f"{key} is not read: {remedy}"


DJANGO = """
    import sys
    from django.conf import settings
    settings.configure(
        CELERY_BROKER_URL="memory://", SECRET_KEY="x", **{sys.argv[1]: "off"},
    )
    import django
    django.setup()
    from celery import Celery
    from celery.exceptions import ImproperlyConfigured
    from fullresult import FullResult

    app = Celery("shop")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    FullResult(app)
    try:
        print(app.fullresult.settings.sweeper)
    except ImproperlyConfigured as error:
        print(error)
"""


def test_djangos_settings_are_checked(tmp_path: Path) -> None:
    """With the namespace CELERY, as Celery's manual has it."""
    printed = {
        key: run_script(DJANGO, key, directory=tmp_path).strip()
        for key in ("CELERY_FULLRESULT_SWEEPER", "CELERY_FULLRESULT_SWEPER", "FULLRESULT_SWEPER")
    }

    assert printed == {
        "CELERY_FULLRESULT_SWEEPER": "off",
        "CELERY_FULLRESULT_SWEPER": (
            "there is no setting CELERY_FULLRESULT_SWEPER: the nearest is CELERY_FULLRESULT_SWEEPER"
        ),
        "FULLRESULT_SWEPER": ("FULLRESULT_SWEPER is not read: call it CELERY_FULLRESULT_SWEEPER"),
    }
