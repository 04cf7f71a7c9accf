"""What workers route by: from the configuration and the rollouts to a snapshot, and how that reaches every worker.

    config, states ─▶ compile ─▶ push ─▶ workers, which `fleet` keeps account of

Pure are `compile` with its parts `backends`, `matches` and `guards`, and `cohorts` (who has which users).
"""
