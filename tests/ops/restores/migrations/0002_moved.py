"""A column is renamed twice, its table once; a table is dropped."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("billing", "0001_initial")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.RenameField("Tariff", "cost", "amount"),
        migrations.RenameModel("Tariff", "Offer"),
        migrations.RenameField("Offer", "amount", "price"),
        migrations.DeleteModel("Coupon"),
    ]
