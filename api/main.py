"""The HTTP application: routes, problems, access, and nothing that trains."""

from importlib import metadata
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from api import problems
from api.access import LOOPBACK_HOSTS, Access
from api.callers import COOKIE, said_in_logs
from api.metrics import Metrics, Timed
from api.pace import Pace
from api.routes import (
    curves,
    effects,
    experiments,
    figures,
    health,
    home,
    metrics,
    predictions,
    presets,
    sign_in,
    sweeps,
    wishes,
    workers,
)
from api.schemas import Problem
from core.broker.doorbell import Doorbell
from core.store.files import Files
from core.store.session import Store

DESCRIPTION = """Does importance weighting still matter once a network has been trained long enough?
Post an experiment spec, follow its curve. Errors are RFC 9457 problems."""

ROUTERS = (  # in the order of /docs; each asks who calls
    experiments.router,
    wishes.of_experiments,
    curves.router,
    predictions.router,
    sweeps.router,
    wishes.of_sweeps,
    figures.router,
    effects.router,
    presets.router,
    workers.router,
    metrics.router,
)
OPEN_ROUTERS = (health.router, home.router, sign_in.router)  # for probes, and for whoever looks what this is


def create_app(
    store: Store,
    doorbell: Doorbell,
    files: Files,
    home_folder: Path,
    hosts: frozenset[str] = LOOPBACK_HOSTS,
    needs_token: bool = False,
    pace: Pace | None = None,
) -> FastAPI:
    """Answers requests to `hosts`, names as `Host` says them; with `needs_token` only those that carry one, as
    many of each as `pace` allows."""
    # /docs with its scripts from this host: another's would run in an origin that may cancel experiments.
    app = FastAPIOffline(
        title="Ballast",
        version=metadata.version("ballast"),
        description=DESCRIPTION,
        responses=problems.problem_responses(403, 422, 500, 503),
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,  # Access answers both ways
    )
    app.state.store = store
    app.state.doorbell = doorbell
    app.state.files = files
    app.state.home_folder = home_folder
    app.state.needs_token = needs_token
    app.state.metrics = Metrics()
    app.state.pace = pace or Pace()
    app.add_middleware(Timed)  # within Access, since only there the route is known
    app.add_middleware(Access, hosts=hosts)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(said_in_logs)], responses=problems.problem_responses(401, 429))
    for router in OPEN_ROUTERS:
        app.include_router(router)
    _document(app)
    return app


def _operation_id(route: APIRoute) -> str:
    """The name of its function, whose words are those by which /docs lists it."""
    return route.name


def _document(app: FastAPI) -> None:
    """FastAPI documents an error shape of its own that we never answer with; ours takes its place."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schemas.update(schemas["Problem"].pop("$defs", {}))
    if app.state.needs_token:
        document["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        }
        document["security"] = [{"token": []}, {"session": []}]
        for route in (route for router in OPEN_ROUTERS for route in router.routes if isinstance(route, APIRoute)):
            for method in route.methods or ():
                document["paths"][route.path][method.lower()]["security"] = []
