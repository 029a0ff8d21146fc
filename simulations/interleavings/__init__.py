"""Every order in which the statements of a few transactions can meet on a real PostgreSQL, judged by the model."""
