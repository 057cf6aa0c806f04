"""The pages, one file each: functions of a request, and the addresses they answer."""
