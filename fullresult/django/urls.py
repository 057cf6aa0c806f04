"""The addresses of the pages: `path("tasks/", include("fullresult.django.urls"))`."""

from __future__ import annotations

from django.urls import re_path

from fullresult.django.views import pages

app_name = "fullresult"
urlpatterns = [re_path(r"^(?P<path>.*)$", pages, name="pages")]
