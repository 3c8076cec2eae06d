"""The layered configuration: defaults, config.yaml of the user, of the project, environment, flags."""

from syntor.configuration.current import ConfigurationFile
from syntor.configuration.layers import Configuration, Value, load_configuration

__all__ = ["Configuration", "ConfigurationFile", "Value", "load_configuration"]
