// A client of the REST API as a stock generator makes it from /openapi.json: build/api.d.ts is openapi-typescript's, the calls
// are openapi-fetch's. Nothing else of this repository is used.
//
//	BASE  the API, https://127.0.0.1:8443    TOKEN  a token      ADDRESS  where the new listener shall be
//
// It makes a tenant that users can log in to, says "ready" when it watches the tenant's sessions, ends the first session that
// opens, once it has got a line, reads in the audit trail what it did, and takes everything away again. What it sees it
// prints, one thing a line.

import { once } from "node:events";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";
import { events } from "./events.js";

type Schemas = components["schemas"];
type Status = Schemas["google.rpc.Status"];
type Watched = Schemas["concentrator.v1.WatchSessionsResponse"];

const { BASE = "", TOKEN = "", ADDRESS = "" } = process.env;
const api = createClient<paths>({ baseUrl: BASE, headers: { Authorization: `Bearer ${TOKEN}` } });

/** The answer of a call, or the end of this program. */
async function must<T>(what: string, call: Promise<{ data?: T; error?: Status }>): Promise<T> {
	const { data, error } = await call;
	if (error !== undefined || data === undefined) throw new Error(`${what}: ${JSON.stringify(error)}`);
	return data;
}

/** The reason of an error, and the fields that it names. */
function reasonOf(error: Status | undefined): { reason: string; fields: string[] } {
	const found = { reason: "", fields: [] as string[] };
	for (const d of error?.details ?? []) {
		if (d["@type"] === "type.googleapis.com/google.rpc.ErrorInfo") found.reason = d.reason;
		if (d["@type"] === "type.googleapis.com/google.rpc.BadRequest") found.fields = d.fieldViolations.map((v) => v.field);
	}
	return found;
}

function check(ok: boolean, what: string): asserts ok {
	if (!ok) throw new Error(what);
}

const tenant = "rest";
const path = { tenant };

async function make(): Promise<void> {
	await must("tenant", api.POST("/v1/tenants", {
		params: { query: { tenantId: tenant } },
		body: { displayName: "Made by REST", authentication: { backend: "LOCAL" } },
	}));
	await must("pool", api.POST("/v1/tenants/{tenant}/pools", {
		params: { path, query: { poolId: "main" } },
		body: { ranges: ["10.95.0.0/24"] },
	}));
	await must("profile", api.POST("/v1/tenants/{tenant}/profiles", {
		params: { path, query: { profileId: "default" } },
		body: { pool: `tenants/${tenant}/pools/main`, authMethods: ["MSCHAPV2"], mppe: { policy: "REQUIRED", keyBits: [128] } },
	}));
	const user = await must("user", api.POST("/v1/tenants/{tenant}/users", {
		params: { path, query: { userId: "rest%40home" } },
		body: { password: "resting-1", disabled: true },
	}));
	check(user.name === "tenants/rest/users/rest@home" && !("password" in user), `the user is ${JSON.stringify(user)}`);

	// Updated under its etag; a second time with the same one is refused. The client encodes what it puts into the path.
	const one = { ...path, user: "rest@home" };
	const { etag } = user;
	const enabled = await must("update", api.PATCH("/v1/tenants/{tenant}/users/{user}", {
		params: { path: one, query: { updateMask: "disabled" } },
		body: { disabled: false, etag },
	}));
	check(enabled.disabled === false, "the user is still disabled");
	const late = await api.PATCH("/v1/tenants/{tenant}/users/{user}", { params: { path: one }, body: { maxSessions: 1, etag } });
	check(late.response.status === 409 && reasonOf(late.error).reason === "ETAG_MISMATCH", `an old etag: ${JSON.stringify(late.error)}`);

	const wrong = await api.POST("/v1/listeners", {
		params: { query: { listenerId: "rest" } },
		body: { address: "nowhere", protocols: ["PPTP"], tenants: [`tenants/${tenant}`] },
	});
	const { reason, fields } = reasonOf(wrong.error);
	check(wrong.response.status === 400 && reason === "INVALID_FIELD" && fields.includes("address"), `a wrong address: ${JSON.stringify(wrong.error)}`);
	await must("listener", api.POST("/v1/listeners", {
		params: { query: { listenerId: "rest" } },
		body: { address: ADDRESS, protocols: ["PPTP"], tenants: [`tenants/${tenant}`], defaultTenant: `tenants/${tenant}` },
	}));
}

/** Watches until one session has come, was ended, and is gone. Then goes on from the revision before that. */
async function watch(): Promise<void> {
	let name = "";
	let before = "";
	for await (const e of events(await openWatch({}))) {
		check(e.event !== "error", `the watch ended: ${e.data}`);
		const message = JSON.parse(e.data) as Watched;
		check(e.event === "bookmark" || e.id === message.revision, `event ${e.id} has revision ${message.revision}`);
		if (e.event === "snapshot_done") {
			before = e.id;
			console.log("ready");
		}
		const session = message.upsert;
		if (session?.state === "OPEN" && name === "") {
			check(session.user === "rest@home" && session.name !== undefined, `the session is of ${session.user}`);
			name = session.name;
			console.log("open", name, session.address);
			await once(process.stdin, "data"); // until the other side has seen it too
			await must("disconnect", api.POST("/v1/tenants/{tenant}/sessions/{session}:disconnect", {
				params: { path: { ...path, session: name.slice(name.lastIndexOf("/") + 1) } },
				body: {},
			}));
		}
		if (name !== "" && message.removed === name) break;
	}
	console.log("gone", name);

	// A browser that lost the connection then would say so in a header, and see the same again.
	for await (const e of events(await openWatch({ "Last-Event-ID": before }))) {
		check(e.event !== "snapshot_done" && e.event !== "error", `resumed, the watch says ${e.event}: ${e.data}`);
		if ((JSON.parse(e.data) as Watched).removed === name) break;
	}
	console.log("resumed");
}

async function openWatch(header: Record<string, string>): Promise<ReadableStream<Uint8Array>> {
	const { data, error } = await api.GET("/v1/tenants/{tenant}/sessions:watch", {
		params: { path },
		headers: { Accept: "text/event-stream", ...header },
		parseAs: "stream",
	});
	check(data != null, `watch: ${JSON.stringify(error)}`);
	return data;
}

/** Everything that was done and refused is in the audit trail, and the trail is whole. */
async function audit(): Promise<void> {
	const { auditEvents = [] } = await must("audit", api.GET("/v1/tenants/{tenant}/auditEvents", { params: { path, query: { pageSize: 1000 } } }));
	for (const [method, code] of [["CreatePool", "OK"], ["CreateProfile", "OK"], ["CreateUser", "OK"], ["UpdateUser", "OK"], ["UpdateUser", "ABORTED"], ["DisconnectSession", "OK"]] as const) {
		check(auditEvents.some((e) => e.method === method && e.code === code && e.caller !== ""), `no ${method} ${code} among ${auditEvents.length} events`);
	}
	check(!JSON.stringify(auditEvents).includes("resting-1"), "the audit trail shows a password");
	const verified = await must("verify", api.POST("/v1/auditEvents:verify", { body: {} }));
	check(verified.valid === true, `the audit trail: ${verified.detail}`);
	console.log("audited", auditEvents.length);
}

async function remove(): Promise<void> {
	await must("delete", api.DELETE("/v1/listeners/{listener}", { params: { path: { listener: "rest" } } }));
	await must("delete", api.DELETE("/v1/tenants/{tenant}/users/{user}", { params: { path: { ...path, user: "rest@home" } } }));
	await must("delete", api.DELETE("/v1/tenants/{tenant}/profiles/{profile}", { params: { path: { ...path, profile: "default" } } }));
	await must("delete", api.DELETE("/v1/tenants/{tenant}/pools/{pool}", { params: { path: { ...path, pool: "main" } } }));
	await must("delete", api.DELETE("/v1/tenants/{tenant}", { params: { path } }));
	const left = await api.GET("/v1/tenants/{tenant}", { params: { path } });
	check(left.response.status === 404 && reasonOf(left.error).reason === "RESOURCE_NOT_FOUND", "the tenant is still there");
}

await make();
await watch();
await audit();
await remove();
console.log("done");
process.exit(0); // the watches are still open
