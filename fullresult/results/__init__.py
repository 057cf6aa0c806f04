"""The result backend that `result_backend = "fullresult://"` names."""
