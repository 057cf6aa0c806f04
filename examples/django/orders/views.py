"""The shop."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from orders.models import Order
from orders.tasks import charge, remind


@require_http_methods(["GET", "POST"])
def orders(request: HttpRequest) -> HttpResponse:
    """A form that places an order, and the answer to it."""
    if request.method == "GET":
        return render(request, "orders/order.html")
    return place(request.POST.get("item", "a book"))


def place(item: str) -> JsonResponse:
    """An order is charged when its transaction commits, and a day later is asked for."""
    order = Order.objects.create(item=item)
    charged = charge.delay_on_commit(order.id)
    reminded = remind.apply_async((order.id,), countdown=86_400)
    return JsonResponse({"order": order.id, "charge": charged.id, "remind": reminded.id})
