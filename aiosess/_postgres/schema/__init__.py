"""
The tables in PostgreSQL: made and upgraded when an application starts, checked, printed for a DBA.

``tables.sql`` and ``functions.sql`` say how a new database looks. To change them for a released version:

1. Raise ``VERSION``, and change ``tables.sql`` and ``functions.sql`` to how a new database shall look.
2. Write ``upgrade_0002.sql`` (the number is the new version) with the ALTERs that bring older tables there, and
   nothing else: ``functions.sql`` runs again after it. If only a function's body changed, the file is just a comment.
3. If the parameters, the result or the meaning of a function change, give it a new name (``aiosess_authenticate_v2``).
   The old function stays for one release, since processes of the older library still call it.
4. If the older library cannot use the new tables, raise ``COMPATIBLE_FROM``. Then all its processes must stop before
   the upgrade, and only a backup leads back. A new column that is nullable or has a default needs no such step.
5. A new column of a session stands in three places: ``tables.sql`` (with the upgrade), ``columns.sql`` and ``Row``.
"""

from aiosess._postgres.schema.migration import prepare
from aiosess._postgres.schema.scripts import VERSION, schema_sql

__all__ = ["VERSION", "prepare", "schema_sql"]
