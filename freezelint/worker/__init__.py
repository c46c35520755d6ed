"""What runs in the user's interpreter: standard library and torch only, nothing of freezelint but this folder."""
