"""Addresses."""

from django.contrib import admin
from django.urls import include, path
from orders import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("tasks/", include("fullresult.django.urls")),
    path("orders/", views.orders),
]
