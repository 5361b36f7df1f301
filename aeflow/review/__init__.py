"""What people say of flags, and what becomes of it."""
