"""The fixtures of all tests: of the service (tests/) and of its doors (doors/tests/)."""

pytest_plugins = ["fixtures.service_fixtures", "fixtures.door_fixtures"]
