"""A QR code as SVG in the page: nothing is fetched, nothing is stored."""

import qrcode
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

_QUIET_ZONE = 4  # modules, as the standard asks


def svg(text: str) -> SafeString:
    """The text as a QR code, black on white whatever the page's theme: readers want it so."""
    code = qrcode.QRCode(border=0, error_correction=qrcode.constants.ERROR_CORRECT_M)
    code.add_data(text)
    code.make(fit=True)
    matrix = code.get_matrix()
    side = len(matrix) + 2 * _QUIET_ZONE
    path = "".join(
        f"M{x + _QUIET_ZONE} {y + _QUIET_ZONE}h1v1h-1z"
        for y, row in enumerate(matrix)
        for x, dark in enumerate(row)
        if dark
    )
    return format_html(
        '<svg viewBox="0 0 {side} {side}" role="img" aria-label="QR code of the secret" '
        'shape-rendering="crispEdges"><rect width="{side}" height="{side}" fill="#fff"></rect>'
        '<path d="{path}" fill="#000"></path></svg>',
        side=side,
        path=mark_safe(path),  # noqa: S308  (numbers and letters of our own)
    )
