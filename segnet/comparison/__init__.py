"""Methods × folds × seeds on one cohort: which loss, network or setting is better, and how sure."""
