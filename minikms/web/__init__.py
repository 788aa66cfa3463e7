"""HTTP: routes, handlers, schemas, problems and the OpenAPI document."""
