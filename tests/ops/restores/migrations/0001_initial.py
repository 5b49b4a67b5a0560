"""As it was when the backup was taken."""

from typing import ClassVar

from django.db import migrations, models

_ID = ("id", models.BigAutoField(primary_key=True))


class Migration(migrations.Migration):
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel("Tariff", [_ID, ("cost", models.IntegerField())]),
        migrations.CreateModel("Coupon", [_ID]),
    ]
