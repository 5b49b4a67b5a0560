"""The sidebar and the label of the environment."""

from typing import Any

SIDEBAR: dict[str, Any] = {"show_search": True}
