"""The shop."""

from django.http import HttpRequest, JsonResponse

from orders.models import Order
from orders.tasks import charge, remind


def place(request: HttpRequest) -> JsonResponse:
    """Place an order: it is charged when its transaction commits, and a day later is asked for."""
    order = Order.objects.create(item=request.GET.get("item", "a book"))
    charged = charge.delay_on_commit(order.id)
    reminded = remind.apply_async((order.id,), countdown=86_400)
    return JsonResponse({"order": order.id, "charge": charged.id, "remind": reminded.id})
