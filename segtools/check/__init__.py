"""Second opinions: rules over the catalog, and an independent reader of what was written."""

from segtools.check.audit import audit
from segtools.check.rules import RULES, Rule, check_catalog

__all__ = ["RULES", "Rule", "audit", "check_catalog"]
