"""The GraphQL operations that the SDK asks for, a method each, named as the operation is."""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from wandb_server.store import ENTITY, HISTORY, Artifact, Store, Sweep

Variables = dict[str, Any]


class UnknownOperationError(Exception):
    """The SDK asked for something that the double does not do."""


class Operations:
    """Answers GraphQL requests from a store.

    Args:
        store: What is kept.
        url: Where files are uploaded to.
    """

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url

    def answer(self, query: str, variables: Variables) -> dict[str, Any]:
        """Return the data of one request."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else query[:40]
        operation: Callable[[Variables], dict[str, Any]] | None = getattr(self, f"on_{name}", None)
        if operation is None:
            raise UnknownOperationError(name)
        return operation(variables)

    # Who asks, and what the server can do.

    def on_Viewer(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        user = {"id": "U", "entity": ENTITY, "username": ENTITY, "email": "t@example.com"}
        return {"viewer": {**user, "flags": "{}", "teams": {"edges": []}, "admin": False}}

    def on_GetDefaultEntity(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"viewer": {"id": "U", "entity": ENTITY}}

    def on_ServerFeaturesQuery(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def on_ServerInfo(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        versions = {"max_cli_version": "99.0.0"}
        return {"serverInfo": {"cliVersionInfo": versions, "latestLocalVersionInfo": None}}

    def on_OrgFeatureFlags(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"organization": {"featureFlags": []}}

    def on_OrganizationCoreWeaveOrganizationID(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"entity": {"organization": None}}

    def on_RunStoppedStatus(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"project": {"run": {"stopped": False}}}

    def on_ArtifactType(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"project": {"artifact": None}}

    # Runs.

    def on_RunResumeStatus(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        run, project = self.store.runs.get(v["name"]), _project(v)
        bucket = None
        if run is not None:
            bucket = {
                "id": f"R:{run.name}",
                "name": run.name,
                "displayName": run.attributes.get("displayName"),
                "summaryMetrics": json.dumps(run.summary),
                "config": json.dumps(run.raw_config),
                "tags": run.attributes.get("tags") or [],
                "notes": run.attributes.get("notes"),
                "logLineCount": len(run.lines.get("output.log", {})),
                "historyLineCount": len(run.history),
                "eventsLineCount": len(run.lines.get("wandb-events.jsonl", {})),
                "historyTail": run.tail(HISTORY),
                "eventsTail": run.tail("wandb-events.jsonl"),
                "wandbConfig": json.dumps({"t": {"1": [1]}}),
            }
        return {"model": {**project, "bucket": bucket}}

    def on_UpsertBucket(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        name = v.get("name") or v["id"].removeprefix("R:")
        inserted = name not in self.store.runs
        run = self.store.run(name)
        if v.get("config"):
            run.raw_config = json.loads(v["config"])
        if v.get("summaryMetrics"):
            run.lines["wandb-summary.json"] = {0: v["summaryMetrics"]}
        apart = ("config", "summaryMetrics")
        run.attributes |= {k: x for k, x in v.items() if x is not None and k not in apart}
        if inserted:
            run.exit_code = None
        bucket = {
            "id": f"R:{name}",
            "name": name,
            "displayName": run.attributes.get("displayName") or name,
            "description": None,
            "config": json.dumps(run.raw_config),
            "sweepName": run.attributes.get("sweep"),
            "project": _project(run.attributes),
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"inserted": inserted, "bucket": bucket}}

    def on_CreateRunFiles(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        files = [
            {"name": file, "uploadUrl": f"{self.url}/upload/run/{v['run']}/{file}"}
            for file in v["files"]
        ]
        return {"createRunFiles": {"runID": f"R:{v['run']}", "uploadHeaders": [], "files": files}}

    def on_MarkRunFilesUploaded(self, _: Variables) -> dict[str, Any]:  # noqa: N802
        return {"markRunFilesUploaded": {"success": True}}

    # Artifacts.

    def on_CreateArtifact(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        asked = v["input"]
        name = asked.get("artifactCollectionName") or asked["artifactSequenceName"]
        versions = [a for a in self.store.artifacts.values() if a.name == name]
        same = [a for a in versions if a.digest == asked["digest"]]
        if same and asked.get("enableDigestDeduplication"):
            artifact = same[0]
        else:
            artifact = Artifact(
                uuid.uuid4().hex[:12],
                name,
                asked["artifactTypeName"],
                asked["digest"],
                asked.get("runName"),
            )
            self.store.artifacts[artifact.id] = artifact
        latest = {"id": versions[-1].id} if versions else None
        found = {"id": artifact.id, "state": artifact.state}
        return {
            "createArtifact": {
                "artifact": {**found, "artifactSequence": {"latestArtifact": latest}}
            }
        }

    def on_CreateArtifactManifest(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        return {"createArtifactManifest": {"artifactManifest": self._manifest(v["artifactID"])}}

    def on_UpdateArtifactManifest(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        artifact = v["artifactManifestID"].removeprefix("M:")
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(artifact)}}

    def _manifest(self, artifact: str) -> dict[str, Any]:
        url = f"{self.url}/upload/manifest/{artifact}"
        file = {"id": f"F:{artifact}", "uploadUrl": url, "uploadHeaders": []}
        return {"id": f"M:{artifact}", "file": file}

    def on_CreateArtifactFiles(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        files = (v.get("input") or v)["artifactFiles"]
        nodes = [
            {
                "storagePath": f"artifacts/{file['artifactID']}/{file['name']}",
                "uploadUrl": f"{self.url}/upload/artifact/{file['artifactID']}/{file['name']}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in files
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def on_CommitArtifact(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        artifact = self.store.artifacts[v["artifactID"]]
        artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def on_UseArtifact(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        return {"useArtifact": {"artifact": {"id": v["input"]["artifactID"]}}}

    # Sweeps and workspaces.

    def on_UpsertSweep(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        name = f"sweep{len(self.store.sweeps) + 1}"
        self.store.sweeps[name] = Sweep.of(v["config"])
        project = _project({"project": v.get("projectName")})
        sweep = {"name": name, "project": project}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def on_SweepWithRuns(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        name, sweep = v["sweep"], self.store.sweeps.get(v["sweep"])
        if sweep is None:
            return {"project": {"sweep": None}}
        found = {"id": name, "name": name, "method": "grid", "state": "RUNNING"}
        return {"project": {"sweep": {**found, "config": sweep.config, "runs": {"edges": []}}}}

    def on_CreateAgent(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        return {"createAgent": {"agent": {"id": f"A:{v['sweep']}"}}}

    def on_Heartbeat(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        sweep = self.store.sweeps[v["id"].removeprefix("A:")]
        busy = any(json.loads(v.get("runState") or "{}").values())
        commands = [] if busy else [sweep.take() or {"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": v["id"]}, "commands": json.dumps(commands)}}

    def on_ProjectInternalId(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        return {"project": {"id": f"P:{v['projectName']}", "internalId": "1"}}

    def on_UpsertView2(self, v: Variables) -> dict[str, Any]:  # noqa: N802
        self.store.views.append(v)
        names = ("type", "name", "displayName", "description", "spec")
        project = {
            "id": f"P:{v['projectName']}",
            "name": v["projectName"],
            "entityName": v["entityName"],
        }
        view = {
            "id": f"V{len(self.store.views)}",
            **{name: v.get(name) for name in names},
            "project": project,
            "updatedAt": "2026-01-01T00:00:00Z",
        }
        return {"upsertView": {"inserted": True, "view": view}}

    on_upsertView = on_UpsertView2  # noqa: N815


def _project(v: Variables) -> dict[str, Any]:
    name = v.get("project") or "uncategorized"
    return {"id": f"P:{name}", "name": name, "entity": {"id": "E", "name": ENTITY}}
