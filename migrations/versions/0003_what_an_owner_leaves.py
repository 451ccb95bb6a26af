"""what an owner that stops leaves for the next one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("pool_lease") as table:
        table.add_column(sa.Column("handover", JSON, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("pool_lease") as table:
        table.drop_column("handover")
