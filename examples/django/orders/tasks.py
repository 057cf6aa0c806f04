"""What is done in the background."""

from celery import shared_task

from orders.models import Order


@shared_task
def charge(order_id: int) -> dict[str, int]:
    """Charge an order."""
    order = Order.objects.get(id=order_id)
    order.paid = True
    order.save()
    return {"paid": order.id}


@shared_task
def remind(order_id: int) -> str:
    """Remind of an order that is not paid."""
    return Order.objects.get(id=order_id).item


@shared_task
def fail(order_id: int) -> None:
    """Fail."""
    raise ValueError(f"order {order_id} is broken")
