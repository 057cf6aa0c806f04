"""Why a task is as it is: rules that take evidence and say a sentence."""
