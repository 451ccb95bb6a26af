"""guessed passwords counted for the whole installation; a new password ends older tokens"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "guess",
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_guess")),
    )
    op.create_index(op.f("ix_guess_since"), "guess", ["since"])
    with op.batch_alter_table("account") as account:
        account.drop_column("failures")
        account.drop_column("locked_until")
        account.add_column(
            sa.Column("generation", sa.Integer(), nullable=False, server_default="0")
        )


def downgrade() -> None:
    with op.batch_alter_table("account") as account:
        account.drop_column("generation")
        account.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        account.add_column(sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True))
    op.drop_table("guess")
