"""The fixtures of all tests: of the service (tests/) and of its doors (doors/tests/)."""

pytest_plugins = ["service_fixtures", "door_fixtures"]
