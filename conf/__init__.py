"""The configuration, as Hydra groups: model, dataset, budget, evaluator, logger, experiment."""
