"""The pure core: aggregates, frames, folds, ports and the application's use cases."""
