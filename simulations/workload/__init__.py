"""Who uses the service in a world: authors, watchers, rivals and remote workers, all of them drawn from the tape."""
