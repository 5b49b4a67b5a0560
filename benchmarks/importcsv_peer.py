"""The peer of benchmarks.importcsv: django-import-export as its first page of documentation has it.

The key is named, as the file has no `id`, and the reset of the sequence at the end is left out: a
member's role may not do that.
"""

import sys
from pathlib import Path


def main() -> None:
    """Import customers from the file into the account of the e-mail address."""
    import django

    django.setup()
    from import_export import resources
    from tablib import Dataset

    from crm.models import Customer, User
    from ops.rls.session import acting_as, acting_as_login

    class CustomerResource(resources.ModelResource):
        class Meta:
            model = Customer
            import_id_fields = ("external_id",)

        def after_import(self, dataset: Dataset, result: object, **kwargs: object) -> None:
            pass

    path, email = sys.argv[1:]
    with acting_as_login():
        user = User.objects.get(email=email)
    dataset = Dataset().load(Path(path).read_text(encoding="utf-8"), format="csv")
    with acting_as(user, via="django-import-export"):
        result = CustomerResource().import_data(dataset, raise_errors=True)
    assert not result.has_errors()


main()
