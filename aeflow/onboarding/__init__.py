"""`aeflow init`: look at the data, choose defaults, write a complete YAML."""

from aeflow.onboarding.images import ImageProfile, profile_images
from aeflow.onboarding.tables import FROM_PATH, SqlProfile, TableProfile, profile_sql, profile_table
from aeflow.onboarding.write import write_config

__all__ = [
    "FROM_PATH",
    "ImageProfile",
    "SqlProfile",
    "TableProfile",
    "profile_images",
    "profile_sql",
    "profile_table",
    "write_config",
]
