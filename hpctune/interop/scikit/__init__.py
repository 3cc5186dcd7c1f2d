"""scikit-learn's searches on a cluster: a backend of joblib, and searches with the interface of GridSearchCV."""
