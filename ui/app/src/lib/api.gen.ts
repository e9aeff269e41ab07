// Made by `npm run api` from query/src/api/openapi.json, which the server serves as /api/v1/openapi.json.

export interface paths {
    "/alertmanager/api/v2/alerts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alerts as the notifier knows them, with silences and acknowledgements */
        get: operations["managedAlerts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/alertmanager/api/v2/silence/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** End a silence */
        delete: operations["endSilence"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/alertmanager/api/v2/silences": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Silences */
        get: operations["listSilences"];
        put?: never;
        /** Set a silence */
        post: operations["setSilence"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/alerts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alerts that are pending or firing */
        get: operations["listAlerts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/alerts/{fingerprint}/acknowledgement": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Note who looks after a firing alert
         * @description It holds until the alert is resolved and is told to people; who is notified does not change. The table alerts_history has who acknowledged what.
         */
        put: operations["acknowledge"];
        post?: never;
        /** Take an acknowledgement back */
        delete: operations["takeBackAcknowledgement"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who did what: lines of the tenant, newest first, and whether their chain holds */
        get: operations["auditLog"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begin a session; its cookie is in the answer */
        post: operations["login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** End the session */
        post: operations["logout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who asks, and what they may do */
        get: operations["whoami"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/methods": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How one can log in; needs no credentials */
        get: operations["loginMethods"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Change the password of who asks; ends all their sessions */
        post: operations["changePassword"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/tenants": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The tenants that the caller administers */
        get: operations["tenants"];
        put?: never;
        /** Create a tenant; for admins of the default tenant */
        post: operations["createTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The API tokens that the caller administers, newest first */
        get: operations["tokens"];
        put?: never;
        /** Create an API token; its secret is in this answer and nowhere else */
        post: operations["createToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/tokens/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke an API token */
        delete: operations["revokeToken"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The users whom the caller administers */
        get: operations["users"];
        put?: never;
        /** Create a user */
        post: operations["createUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/users/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Delete a user and end its sessions */
        delete: operations["deleteUser"];
        options?: never;
        head?: never;
        /** Change role or password of a user, disable or enable it */
        patch: operations["changeUser"];
        trace?: never;
    };
    "/api/v1/correlate/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Everything that bears an ID */
        get: operations["correlate"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/diagnosis": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What changed at a time, or in a range against the hour before it */
        get: operations["diagnose"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/incidents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alerts that belong together, with what explains them */
        get: operations["listIncidents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Search log records */
        get: operations["searchLogs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/logs/tail": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Follow log records as they come */
        get: operations["tailLogs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This description */
        get: operations["describe"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/rules": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Rules, as Prometheus answers, with more members */
        get: operations["listRules"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/rules/backtest": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** What rules would have done */
        post: operations["backtest"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/service_graph": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who calls whom, and how well */
        get: operations["serviceGraph"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/services": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Services and what there is of them */
        get: operations["listServices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/slos": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Service level objectives */
        get: operations["listSlos"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/slos/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One objective */
        get: operations["getSlo"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sql": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Run an SQL statement that reads
         * @description Tables: logs, spans, metrics, and the views span_events, span_links, exemplars, series, alerts_history, notifications_history, rejected. information_schema.columns has their columns.
         */
        post: operations["sql"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/traces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Search traces */
        get: operations["searchTraces"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/traces/{trace_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One trace with its log records */
        get: operations["getTrace"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/views": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Saved views */
        get: operations["listViews"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/views/{page}/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Save a view, in place of one with the same name */
        put: operations["saveView"];
        post?: never;
        /** Forget a view */
        delete: operations["removeView"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/label/{name}/values": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Values of a label */
        get: operations["promLabelValues"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/labels": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Names of labels */
        get: operations["promLabels"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/metadata": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Kind, unit and meaning of metrics */
        get: operations["promMetadata"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/parse_query": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The syntax tree of an expression; the error says where it cannot be read */
        get: operations["promParse"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/query": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** PromQL at one time */
        get: operations["promQuery"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/query_exemplars": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Exemplars of a query's series */
        get: operations["promExemplars"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/query_range": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** PromQL over time */
        get: operations["promQueryRange"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/series": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Series */
        get: operations["promSeries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/status/buildinfo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What is running */
        get: operations["promBuild"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/status/flags": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Settings */
        get: operations["promFlags"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/status/runtimeinfo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Since when, and where telemetry is sent to */
        get: operations["promRuntime"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/prometheus/api/v1/status/tsdb": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What series there are, by number */
        get: operations["promTsdb"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Who looks after an alert, until it is resolved. */
        Acknowledgement: {
            /** @description Since when, RFC 3339. */
            at: string;
            by: string;
            note: string;
        };
        /** @description An alert that a rule has pending or firing. */
        Alert: {
            activeAt: string;
            annotations: components["schemas"]["Labels"];
            firedAt?: string;
            keepFiringSince?: string;
            labels: components["schemas"]["Labels"];
            /** @description pending or firing. */
            state: string;
            value: string;
        };
        AlertsAnswer: {
            data: {
                alerts: components["schemas"]["Alert"][];
            };
            /** @enum {string} */
            status: "success";
        };
        /** @description Attributes by key. */
        Attributes: {
            [key: string]: components["schemas"]["Value"];
        };
        /** @description One event, chained to the one before. */
        AuditLine: {
            /** @enum {string} */
            action: "login" | "logout" | "denied" | "request" | "first_token";
            actor: string;
            address?: string;
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            at: number;
            detail?: string;
            hash: string;
            how?: string;
            /** @enum {string} */
            outcome: "ok" | "denied" | "failed" | "cancelled";
            previous: string;
            role?: string;
            sequence: number;
            status?: number;
            /** @description Method and route. */
            target: string;
        };
        AuditLog: {
            /** @description Where these lines do not hold together. */
            broken: string | null;
            lines: components["schemas"]["AuditLine"][];
        };
        BacktestFiring: {
            activeAtMs: number;
            annotations: components["schemas"]["Labels"];
            firedAtMs: number;
            labels: components["schemas"]["Labels"];
            resolvedAtMs: number | null;
            value: string;
        };
        /** @description What rules would have done. */
        BacktestReport: {
            endMs: number;
            notifications: number;
            rules: {
                evaluations: number;
                failures: number;
                firings: components["schemas"]["BacktestFiring"][];
                firingSeconds: number;
                firingsTotal: number;
                firstError?: string | null;
                flaps: number;
                group: string;
                neverFired: number;
                noise?: {
                    score: number;
                } | null;
                rule: string;
                shortLived: number;
            }[];
            startMs: number;
        };
        /** @description One of rules, group and rule, as YAML. */
        BacktestRequest: {
            end?: string;
            group?: string;
            group_by?: string[];
            interval?: string;
            rule?: string;
            rules?: string;
            start?: string;
        };
        /** @description The error budget of one window. */
        Budget: {
            bad: number;
            budget_events: number;
            budget_minutes: number;
            coverage: number;
            end: number;
            left_events: number;
            left_minutes: number;
            left_share: number;
            sli: number | null;
            /** @description Seconds since 1970. */
            start: number;
            total: number;
        };
        BudgetPoint: {
            /** @description Seconds since 1970. */
            at: number;
            /** @description The share of the window up to then that was measured. */
            coverage: number;
            /** @description null where nothing was measured. */
            left_share: number | null;
            sli: number | null;
        };
        BurnRate: {
            bad: number;
            coverage: number;
            rate: number | null;
            seconds: number;
            /** @enum {string} */
            state: "measured" | "no_events" | "no_data";
            thresholds: {
                [key: string]: number;
            };
            total: number;
            window: string;
        };
        /** @description A 64-bit whole number. */
        Count: string;
        CreatedToken: {
            info: components["schemas"]["Token"];
            /** @description The secret, which is told once. */
            token: string;
        };
        Deploy: {
            at: components["schemas"]["Nanos"];
            change?: string;
            previous: string | null;
            service: string;
            text: string;
            version: string;
        };
        /** @description Why there is no answer. */
        Error: {
            error: {
                /** @description Where in a log query, in characters from 1. */
                column?: number;
                /** @description What to do instead. */
                hint?: string;
                /** @description What can be done about it: invalid_argument, not_found, conflict, limit_exceeded, resource_exhausted, unauthenticated, forbidden, unavailable, cancelled, read_only, corrupted, internal. */
                kind: string;
                message: string;
                /** @description Where in a log query, in bytes. */
                offset?: number;
            };
        };
        /** @description What changed and what explains it. Members may be absent. */
        Evidence: {
            attributes?: components["schemas"]["EvidenceAttribute"][];
            baseline?: components["schemas"]["TimeSpan"];
            deploys?: components["schemas"]["Deploy"][];
            duration_ms?: number;
            incident?: string;
            incomplete?: string[];
            log_patterns?: components["schemas"]["LogPattern"][];
            logs_read?: number;
            onset?: components["schemas"]["Nanos"];
            origin?: {
                deploy?: string | null;
                reasons?: string[];
                service?: string;
                version?: string | null;
            } | null;
            services?: string[];
            spans_read?: number;
            summary?: string;
            suspects?: components["schemas"]["Suspect"][];
            traces?: components["schemas"]["EvidenceTrace"][];
            window?: components["schemas"]["TimeSpan"];
        };
        EvidenceAttribute: {
            bad?: number;
            bad_share: number;
            name: string;
            other_share: number;
            text: string;
            value: string;
        };
        EvidenceTrace: {
            trace_id: string;
            url?: string;
            why?: string;
        };
        /** @description A measurement that bears an ID. */
        Exemplar: {
            metric: string;
            series: components["schemas"]["Attributes"];
            service: string;
            span_id?: string;
            time: components["schemas"]["Nanos"];
            trace_id?: string;
            value?: number | string | null;
        };
        /** @description Frequent values of a field. */
        Facet: {
            distinct: number;
            /** @description Counted on a part of the records only. */
            estimated: boolean;
            /** @description Records without the field. */
            missing: number;
            values: {
                count: number;
                value: string;
            }[];
        };
        /** @description Calls of one service to another, or to a database or something outside. */
        GraphCall: {
            callee: string;
            callee_kind: components["schemas"]["NodeKind"];
            caller: string;
            errors: components["schemas"]["Count"];
            /** @enum {string} */
            kind: "call" | "message";
            /** @description Nanoseconds; null without requests. */
            p95: string | null;
            requests: components["schemas"]["Count"];
        };
        /** @description A service or what one calls, with its requests. */
        GraphNode: {
            errors: components["schemas"]["Count"];
            kind: components["schemas"]["NodeKind"];
            name: string;
            /** @description Nanoseconds; null without requests. */
            p95: string | null;
            requests: components["schemas"]["Count"];
        };
        /** @description Records over time. */
        Histogram: {
            buckets: components["schemas"]["HistogramBucket"][];
            interval: components["schemas"]["Nanos"];
        };
        HistogramBucket: {
            count: number;
            /** @description Records by class of severity. */
            severities: {
                [key: string]: number;
            };
            time: components["schemas"]["Nanos"];
        };
        /** @description Alerts that belong together, with what explains them. */
        Incident: {
            alerts: components["schemas"]["IncidentAlert"][];
            closed_at: components["schemas"]["Nanos"] | null;
            evidence: components["schemas"]["Evidence"] | null;
            id: string;
            opened_at: components["schemas"]["Nanos"];
            services: string[];
        };
        IncidentAlert: {
            annotations: components["schemas"]["Labels"] | null;
            fingerprint: string;
            /** @description What has resolved has lost its labels and annotations, but for name and summary. */
            labels: components["schemas"]["Labels"] | null;
            /** @description What its rule is called; empty when an earlier version kept it. */
            name: string;
            onset: components["schemas"]["Nanos"];
            resolved_at: components["schemas"]["Nanos"] | null;
            service: string;
            /** @description What it said last, cut when it is long; may be empty. */
            summary: string;
        };
        IncidentsAnswer: {
            incidents: components["schemas"]["Incident"][];
        };
        /** @description Labels or annotations by name. */
        Labels: {
            [key: string]: string;
        };
        /** @description How one can log in. */
        LoginMethods: {
            /** @enum {string} */
            mode: "open" | "required";
            /** @description Another provider of logins; url takes return, the path to come back to. */
            oidc: {
                label: string;
                url: string;
            } | null;
            password: boolean;
        };
        LoginRequest: {
            name: string;
            password: string;
        };
        /** @description A shape of log records that grew. */
        LogPattern: {
            before: number;
            during: number;
            new: boolean;
            pattern: string;
            samples?: {
                text: string;
                time: components["schemas"]["Nanos"];
                trace_id?: string;
            }[];
            service: string;
            severity: number;
        };
        /** @description A log record. */
        LogRecord: {
            attributes: components["schemas"]["Attributes"];
            body?: components["schemas"]["Value"];
            /** @description Bears the ID itself, rather than belonging to a trace that does. */
            direct?: boolean;
            event_name?: string;
            observed_time?: components["schemas"]["Nanos"];
            resource: components["schemas"]["Attributes"];
            scope: components["schemas"]["Attributes"];
            service: string;
            severity_number: number;
            severity_text?: string;
            span_id?: string;
            time: components["schemas"]["Nanos"];
            trace_id?: string;
        };
        /** @description A page of log records, with counts of all that match. */
        LogsAnswer: {
            elapsed_ms: number;
            facets?: {
                [key: string]: components["schemas"]["Facet"];
            };
            histogram?: components["schemas"]["Histogram"];
            logs: components["schemas"]["LogRecord"][];
            matched: number;
            matched_exact: boolean;
            /** @description Send it as cursor for the next page. */
            next_cursor: string | null;
            partial: boolean;
            rows_read: number;
            warnings: string[];
        };
        /** @description An alert as the notifier knows it. */
        ManagedAlert: {
            acknowledgement?: components["schemas"]["Acknowledgement"];
            annotations: components["schemas"]["Labels"];
            endsAt: string;
            fingerprint: string;
            generatorURL: string;
            incident?: string;
            labels: components["schemas"]["Labels"];
            receivers: {
                name: string;
            }[];
            startsAt: string;
            status: {
                inhibitedBy: string[];
                mutedBy: string[];
                silencedBy: string[];
                state: string;
            };
            updatedAt: string;
        };
        /** @description Nanoseconds since 1970, or a duration in nanoseconds. Text, because numbers of JavaScript hold 53 bits. */
        Nanos: string;
        NewTenant: {
            name: string;
        };
        NewToken: {
            /** @description Never unless given. */
            expires_in_seconds?: number;
            /** @description What it is for. */
            name: string;
            role: components["schemas"]["Role"];
            /** @description All unless given. */
            signals?: ("logs" | "metrics" | "traces")[];
            /** @description The caller's unless given. */
            tenant?: string;
        };
        NewUser: {
            name: string;
            password: string;
            role: components["schemas"]["Role"];
            /** @description The caller's unless given. */
            tenant?: string;
        };
        /**
         * @description A service sends spans. That something is a database, or outside, its callers say.
         * @enum {string}
         */
        NodeKind: "service" | "database" | "external";
        /** @description How a listener is reached by who sends telemetry. */
        OtlpListener: {
            /** @description Where it is bound. `0.0.0.0` and `[::]` are all addresses of the machine. */
            address: string;
            /** @description Whether it wants a certificate of the client. */
            client_certificate: boolean;
            port: number;
            /** @enum {string} */
            scheme: "http" | "https";
            /** @description Whether it wants a token that may ingest. */
            token: boolean;
        };
        PasswordChange: {
            current: string;
            new: string;
        };
        PostableAcknowledgement: {
            /** @description Who looks after it. */
            by: string;
            /** @description What is known or done. */
            note?: string;
        };
        PostableSilence: {
            comment: string;
            createdBy: string;
            endsAt: string;
            id?: string;
            matchers: components["schemas"]["SilenceMatcher"][];
            startsAt: string;
        };
        /** @description Who asks. */
        Principal: {
            /** @enum {string} */
            how: "open" | "token" | "password" | "session" | "jwt";
            /** @description read, write, ingest, administer, monitor, operate. */
            may: string[];
            /** @enum {string} */
            mode?: "open" | "required";
            name: string;
            /** @enum {string} */
            role: "admin" | "editor" | "viewer" | "ingest";
            signals: string[];
            tenant: string;
        };
        PromCount: {
            name: string;
            value: number;
        };
        /** @description A vector or a matrix. */
        PromData: {
            result: components["schemas"]["PromSeries"][];
            /** @enum {string} */
            resultType: "matrix" | "vector" | "scalar" | "string";
        };
        /** @description Why there is no answer, as Prometheus says it. */
        PrometheusError: {
            error: string;
            errorType: string;
            /** @enum {string} */
            status: "error";
        };
        PromExemplars: {
            exemplars: {
                labels: components["schemas"]["Labels"];
                timestamp: number;
                value: string;
            }[];
            seriesLabels: components["schemas"]["Labels"];
        };
        /** @description A native histogram; numbers are text. */
        PromHistogram: {
            buckets?: [
                number,
                string,
                string,
                string
            ][];
            count: string;
            sum: string;
        };
        /** @description Seconds since 1970, and the histogram. */
        PromHistogramSample: [
            number,
            components["schemas"]["PromHistogram"]
        ];
        PromMetadata: {
            help: string;
            type: string;
            unit: string;
        };
        /** @description Seconds since 1970, and the value as text. */
        PromSample: [
            number,
            string
        ];
        PromSeries: {
            histogram?: components["schemas"]["PromHistogramSample"];
            histograms?: components["schemas"]["PromHistogramSample"][];
            metric: components["schemas"]["Labels"];
            value?: components["schemas"]["PromSample"];
            values?: components["schemas"]["PromSample"][];
        };
        /**
         * @description What one may do within the tenant.
         * @enum {string}
         */
        Role: "admin" | "editor" | "viewer" | "ingest";
        /** @description A rule and how it went last. */
        Rule: {
            alerts?: components["schemas"]["Alert"][];
            annotations?: components["schemas"]["Labels"];
            duration?: number;
            evaluationTime: number;
            /** @enum {string} */
            health: "ok" | "err" | "unknown";
            keepFiringFor?: number;
            labels?: components["schemas"]["Labels"];
            lastError?: string;
            lastEvaluation: string;
            name: string;
            query: string;
            /** @description promql, logs or sql. */
            queryType: string;
            state?: string;
            /** @enum {string} */
            type: "alerting" | "recording";
        };
        RuleGroup: {
            evaluationTime: number;
            file: string;
            interval: number;
            lastEvaluation: string;
            limit: number;
            missedIterations: number;
            name: string;
            rules: components["schemas"]["Rule"][];
        };
        RulesAnswer: {
            data: {
                groupNextToken?: string;
                groups: components["schemas"]["RuleGroup"][];
            };
            /** @enum {string} */
            status: "success";
        };
        /** @description What there is of a service. */
        ServiceCounts: {
            logs: components["schemas"]["Count"];
            metrics: components["schemas"]["Count"];
            name: string;
            spans: components["schemas"]["Count"];
        };
        /** @description Who calls whom. Where not all traces were looked at, counts are projected. */
        ServiceGraph: {
            calls: components["schemas"]["GraphCall"][];
            elapsed_ms: number;
            nodes: components["schemas"]["GraphNode"][];
            partial: boolean;
            /** @description Share of the traces that were looked at. */
            sampled_share: number;
            truncated: boolean;
            warnings: string[];
        };
        ServicesAnswer: {
            elapsed_ms: number;
            services: components["schemas"]["ServiceCounts"][];
        };
        /** @description Matchers that mute for a time. */
        Silence: {
            comment: string;
            createdBy: string;
            endsAt: string;
            id: string;
            matchers: components["schemas"]["SilenceMatcher"][];
            startsAt: string;
            status: {
                /** @enum {string} */
                state: "active" | "pending" | "expired";
            };
            updatedAt: string;
        };
        SilenceMatcher: {
            isEqual?: boolean;
            isRegex: boolean;
            name: string;
            value: string;
        };
        /** @description A service level objective and how it stands. */
        Slo: {
            active_alerts: number;
            budget: components["schemas"]["Budget"] | null;
            burn_rate_1h: number | null;
            description: string | null;
            display_name: string | null;
            exhaustion_seconds: number | null;
            health: unknown;
            name: string;
            objective: number;
            service: string;
            watermark: number | null;
            window: {
                duration: string;
                end: number;
                is_rolling: boolean;
                start: number;
            };
        };
        SlosAnswer: {
            slos: components["schemas"]["Slo"][];
            warnings: string[];
        };
        /** @description Everything about one objective. */
        SloView: components["schemas"]["Slo"] & {
            alerts: {
                active: {
                    annotations: components["schemas"]["Labels"];
                    labels: components["schemas"]["Labels"];
                    value: number;
                }[];
                held: {
                    labels: components["schemas"]["Labels"];
                    reason: string;
                }[];
            };
            burn_down: components["schemas"]["BudgetPoint"][];
            burn_rates: components["schemas"]["BurnRate"][];
            daily: components["schemas"]["BudgetPoint"][];
            defined_at: string;
            forecast_share: number | null;
            groups: {
                budget: components["schemas"]["Budget"];
                burn_rate_1h: number | null;
                labels: components["schemas"]["Labels"];
            }[];
            indicator: {
                budgeting: unknown;
                group_by: string[];
                slice_seconds: number;
                written: string;
            };
            measured_from: number | null;
            one_bad_event_burns: number | null;
            past_windows: components["schemas"]["Budget"][];
            runbook_url: string | null;
            top_burners: components["schemas"]["TopBurners"] | null;
        };
        /** @description A span with its place in the trace. */
        Span: {
            attributes: components["schemas"]["Attributes"];
            /** @description Another span has the same ID. */
            conflict?: boolean;
            depth: number;
            /** @description Bears the ID itself, rather than belonging to a trace that does. */
            direct?: boolean;
            duration?: components["schemas"]["Nanos"];
            end_time?: components["schemas"]["Nanos"];
            events: components["schemas"]["SpanEvent"][];
            kind: string;
            links: components["schemas"]["SpanLink"][];
            name: string;
            parent_span_id?: string;
            resource: components["schemas"]["Attributes"];
            scope: components["schemas"]["Attributes"];
            service: string;
            span_id: string;
            start_time: components["schemas"]["Nanos"];
            status: components["schemas"]["SpanStatus"];
            trace_id: string;
        };
        SpanEvent: {
            attributes: components["schemas"]["Attributes"];
            name: string;
            time?: components["schemas"]["Nanos"];
        };
        SpanLink: {
            attributes: components["schemas"]["Attributes"];
            span_id?: string;
            trace_id?: string;
        };
        SpanStatus: {
            /** @enum {string} */
            code: "unset" | "ok" | "error";
            message?: string;
        };
        /** @description The rows of a statement. */
        SqlAnswer: {
            columns: components["schemas"]["SqlColumn"][];
            elapsed_ms: number;
            partial: boolean;
            row_count: number;
            rows: components["schemas"]["Value"][][];
            /** @description There are more rows than max_rows. */
            truncated: boolean;
            warnings: string[];
        };
        SqlColumn: {
            name: string;
            /** @description text, timestamp, hex, duration, int64, float64, list<…>, … */
            type: string;
        };
        /** @description A line of application/x-ndjson; rows=arrays: first the columns, then a line for each row, at last how it ended. */
        SqlLine: {
            columns: components["schemas"]["SqlColumn"][];
        } | components["schemas"]["Value"][] | {
            elapsed_ms: number;
            partial: boolean;
            row_count: number;
            truncated: boolean;
            warnings: string[];
        } | components["schemas"]["Error"];
        /** @description An SQL statement that reads. */
        SqlRequest: {
            max_rows?: number;
            sql: string;
            /** @description Such as 5s, or seconds. */
            timeout?: string | number;
        };
        /** @description Everything that bears an ID. */
        Story: {
            counts: {
                exemplars: number;
                logs: number;
                spans: number;
                traces: number;
            };
            elapsed_ms: number;
            exemplars: components["schemas"]["Exemplar"][];
            follow: {
                key: string;
                logs: number;
                spans: number;
                value: string;
            }[];
            id: string;
            kind: string;
            logs: components["schemas"]["LogRecord"][];
            other_traces: string[];
            partial: boolean;
            traces: components["schemas"]["Trace"][];
            truncated: boolean;
            warnings: string[];
            why_nothing?: {
                hint: string;
                searched: {
                    [key: string]: number;
                };
            };
        };
        /** @description A service that may be the origin. */
        Suspect: {
            reasons: {
                text: string;
            }[];
            score: number;
            service: string;
        };
        Tenant: {
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            created: number;
            id: number;
            name: string;
        };
        TimeSpan: {
            end: components["schemas"]["Nanos"];
            start: components["schemas"]["Nanos"];
        };
        /** @description An API token without its secret. */
        Token: {
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            created: number;
            created_by: string;
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            expires: number | null;
            /** @description Its public part. */
            id: string;
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            last_used: number | null;
            name: string;
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            revoked: number | null;
            role: components["schemas"]["Role"];
            signals: ("logs" | "metrics" | "traces")[];
            tenant: string;
            valid: boolean;
        };
        /** @description What bad events have in common. */
        TopBurners: {
            attributes?: components["schemas"]["EvidenceAttribute"][];
            bad?: number;
            end?: components["schemas"]["Nanos"];
            error?: string;
            events?: number;
            log_patterns?: {
                bad: number;
                good: number;
                pattern: string;
                service: string;
            }[];
            start?: components["schemas"]["Nanos"];
            traces?: string[];
        };
        /** @description A trace: spans in the order of the tree, log records in that of time. */
        Trace: {
            elapsed_ms?: number;
            logs: components["schemas"]["LogRecord"][];
            /** @description Offset of the following spans. */
            next?: number | null;
            partial?: boolean;
            spans: components["schemas"]["Span"][];
            summary: components["schemas"]["TraceSummary"] | null;
            trace_id: string;
            truncated?: boolean;
            warnings?: string[];
        };
        /** @description A trace that was found. */
        TraceHit: components["schemas"]["TraceSummary"] & {
            matched_spans: number;
            trace_id: string;
        };
        TracesAnswer: {
            elapsed_ms: number;
            partial: boolean;
            traces: components["schemas"]["TraceHit"][];
            warnings: string[];
        };
        /** @description What a trace is about. */
        TraceSummary: {
            duration: components["schemas"]["Nanos"];
            end_time: components["schemas"]["Nanos"];
            error_count: number;
            missing_parents: number;
            root_name: string;
            root_service: string;
            services: string[];
            span_count: number;
            start_time: components["schemas"]["Nanos"];
        };
        /** @description What series there are, by number. */
        TsdbStatus: {
            headStats: {
                numSeries: number;
            };
            labelValueCountByLabelName: components["schemas"]["PromCount"][];
            seriesCountByMetricName: components["schemas"]["PromCount"][];
        };
        /** @description Somebody who logs in with a password. */
        User: {
            /**
             * Format: int64
             * @description Nanoseconds since 1970, as a number.
             */
            created: number;
            disabled: boolean;
            name: string;
            role: components["schemas"]["Role"];
            tenant: string;
        };
        /** @description What is left out stays. */
        UserChange: {
            disabled?: boolean;
            password?: string;
            role?: components["schemas"]["Role"];
        };
        /** @description A value of an attribute or a cell: text, a number, a truth, null, a list or an object of such. 64-bit whole numbers, NaN and infinities are text. */
        Value: (string | number | boolean | null) | unknown[] | {
            [key: string]: unknown;
        };
        /** @description A search or query that somebody saved under a name. */
        View: {
            name: string;
            page: components["schemas"]["ViewPage"];
            /** @description The parameters of the page as they stand in its address, without the question mark. */
            query: string;
            updated_at: components["schemas"]["Nanos"];
        };
        /** @enum {string} */
        ViewPage: "logs" | "traces" | "metrics" | "sql";
        ViewsAnswer: {
            views: components["schemas"]["View"][];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    managedAlerts: {
        parameters: {
            query?: {
                /** @description Those that are not muted. */
                active?: boolean;
                /** @description Matchers of labels. */
                filter?: string[];
                /** @description Those that another alert mutes. */
                inhibited?: boolean;
                /** @description Those that are silenced. */
                silenced?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ManagedAlert"][];
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": string;
                };
            };
        };
    };
    endSilence: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Its ID. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It has ended. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": string;
                };
            };
        };
    };
    listSilences: {
        parameters: {
            query?: {
                /** @description Matchers. */
                filter?: string[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Silence"][];
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": string;
                };
            };
        };
    };
    setSilence: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PostableSilence"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        silenceID: string;
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": string;
                };
            };
        };
    };
    listAlerts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AlertsAnswer"];
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    acknowledge: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description As in /alertmanager/api/v2/alerts. */
                fingerprint: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PostableAcknowledgement"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Acknowledgement"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    takeBackAcknowledgement: {
        parameters: {
            query?: {
                /** @description Who takes it back. */
                by?: string;
            };
            header?: never;
            path: {
                /** @description As in /alertmanager/api/v2/alerts. */
                fingerprint: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description There is none any more. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    auditLog: {
        parameters: {
            query?: {
                /** @description Nanoseconds since 1970, not part of it. */
                end?: number;
                /** @description At most 1000; 100 unless given. */
                limit?: number;
                /** @description Nanoseconds since 1970. */
                start?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditLog"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    login: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LoginRequest"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Principal"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    logout: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It has ended. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    whoami: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Principal"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    loginMethods: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoginMethods"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    changePassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordChange"];
            };
        };
        responses: {
            /** @description It is changed. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    tenants: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        tenants: components["schemas"]["Tenant"][];
                    };
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    createTenant: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewTenant"];
            };
        };
        responses: {
            /** @description It is there. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    tokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        tokens: components["schemas"]["Token"][];
                    };
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    createToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewToken"];
            };
        };
        responses: {
            /** @description It is there. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedToken"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    revokeToken: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The public part. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Token"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    users: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        users: components["schemas"]["User"][];
                    };
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    createUser: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewUser"];
            };
        };
        responses: {
            /** @description It is there. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    deleteUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The name. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    changeUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The name. */
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UserChange"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    correlate: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Any ID: of a trace, a span, an order, a user. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Story"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    diagnose: {
        parameters: {
            query?: {
                /** @description Since when something is wrong, such as now-20m. */
                at?: string;
                /** @description End of the range; a few minutes after its begin unless given, a day at most. */
                end?: string;
                /** @description The service that the question is about. */
                service?: string;
                /** @description Begin of the range, in place of at. */
                start?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Evidence"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    listIncidents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IncidentsAnswer"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    searchLogs: {
        parameters: {
            query?: {
                /** @description next_cursor of the page before. */
                cursor?: string;
                /** @description End of the range, which is not part of it. */
                end?: string;
                /** @description Values of a facet. */
                facet_values?: number;
                /** @description Fields to count values of, with commas between. */
                facets?: string;
                /** @description true, or the number of buckets wanted. */
                histogram?: number | boolean;
                /** @description Width of a bucket, in place of histogram. */
                interval?: string;
                /** @description How many at most. */
                limit?: number;
                /** @description desc, newest first, unless given. */
                order?: "asc" | "desc";
                /** @description A log search: words, field:value, "a phrase", /regex/, level:>=warn, AND, OR, NOT and parentheses. */
                query?: string;
                /** @description Begin of the range: RFC 3339, Unix seconds or nanoseconds, or such as now-15m. Open unless given. */
                start?: string;
                /** @description How long it may take, such as 5s. */
                timeout?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LogsAnswer"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    tailLogs: {
        parameters: {
            query?: {
                /** @description A log search: words, field:value, "a phrase", /regex/, level:>=warn, AND, OR, NOT and parentheses. */
                query?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events; the data of the event log is a LogRecord. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    describe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    listRules: {
        parameters: {
            query?: {
                /** @description One kind of rule. */
                type?: "alert" | "record";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RulesAnswer"];
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    backtest: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BacktestRequest"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BacktestReport"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    serviceGraph: {
        parameters: {
            query?: {
                /** @description End of the range, which is not part of it. */
                end?: string;
                /** @description Begin of the range: RFC 3339, Unix seconds or nanoseconds, or such as now-15m. An hour ago unless given. */
                start?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceGraph"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    listServices: {
        parameters: {
            query?: {
                /** @description End of the range, which is not part of it. */
                end?: string;
                /** @description Begin of the range: RFC 3339, Unix seconds or nanoseconds, or such as now-15m. Open unless given. */
                start?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServicesAnswer"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    listSlos: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SlosAnswer"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    getSlo: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Its name. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SloView"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    sql: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SqlRequest"];
            };
        };
        responses: {
            /** @description The rows, in the format of Accept. An answer that broke off says so: in its last line, or by breaking off the connection. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SqlAnswer"];
                    "application/vnd.apache.arrow.stream": string;
                    "application/vnd.apache.parquet": string;
                    "application/x-ndjson": Record<string, never>;
                    "application/x-ndjson; rows=arrays": components["schemas"]["SqlLine"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    searchTraces: {
        parameters: {
            query?: {
                /** @description End of the range, which is not part of it. */
                end?: string;
                /** @description How many at most. */
                limit?: number;
                /** @description Such as 2s. */
                max_duration?: string;
                /** @description Such as 250ms. */
                min_duration?: string;
                /** @description Name of a span. */
                operation?: string;
                /** @description A search over attributes, as for logs. */
                query?: string;
                /** @description Service of a span. */
                service?: string;
                /** @description Begin of the range: RFC 3339, Unix seconds or nanoseconds, or such as now-15m. Open unless given. */
                start?: string;
                /** @description Status of the span. */
                status?: "unset" | "ok" | "error";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TracesAnswer"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    getTrace: {
        parameters: {
            query?: {
                /** @description How many at most. */
                limit?: number;
                /** @description Where a large trace goes on. */
                offset?: number;
            };
            header?: never;
            path: {
                /** @description 32 hexadecimal digits. */
                trace_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Trace"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    listViews: {
        parameters: {
            query?: {
                /** @description Only those of a page. */
                page?: components["schemas"]["ViewPage"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ViewsAnswer"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    saveView: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 120 characters. */
                name: string;
                /** @description What it is a view of. */
                page: components["schemas"]["ViewPage"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    query: string;
                };
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["View"];
                };
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    removeView: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Its name. */
                name: string;
                /** @description What it is a view of. */
                page: components["schemas"]["ViewPage"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is forgotten. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Why there is no answer; 429 and 503 say in Retry-After when to ask again. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Error"];
                };
            };
        };
    };
    promLabelValues: {
        parameters: {
            query?: {
                /** @description Unix seconds or RFC 3339. */
                end?: number | string;
                /** @description How many at most. */
                limit?: number;
                /** @description A selector of series. */
                "match[]"?: string;
                /** @description Unix seconds or RFC 3339. */
                start?: number | string;
            };
            header?: never;
            path: {
                /** @description The label; __name__ for metrics. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: string[];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promLabels: {
        parameters: {
            query?: {
                /** @description Unix seconds or RFC 3339. */
                end?: number | string;
                /** @description How many at most. */
                limit?: number;
                /** @description A selector of series. */
                "match[]"?: string;
                /** @description Unix seconds or RFC 3339. */
                start?: number | string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: string[];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promMetadata: {
        parameters: {
            query?: {
                /** @description How many at most. */
                limit?: number;
                /** @description Only of one. */
                metric?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: {
                            [key: string]: components["schemas"]["PromMetadata"][];
                        };
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promParse: {
        parameters: {
            query: {
                /** @description An expression of PromQL. */
                query: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: Record<string, never>;
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promQuery: {
        parameters: {
            query: {
                /** @description An expression of PromQL. */
                query: string;
                /** @description Unix seconds or RFC 3339; now unless given. */
                time?: number | string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["PromData"];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promExemplars: {
        parameters: {
            query: {
                /** @description Unix seconds or RFC 3339. */
                end?: number | string;
                /** @description An expression of PromQL. */
                query: string;
                /** @description Unix seconds or RFC 3339. */
                start?: number | string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["PromExemplars"][];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promQueryRange: {
        parameters: {
            query: {
                /** @description Unix seconds or RFC 3339. */
                end?: number | string;
                /** @description An expression of PromQL. */
                query: string;
                /** @description Unix seconds or RFC 3339. */
                start?: number | string;
                /** @description Seconds, or such as 30s. */
                step: number | string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["PromData"];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promSeries: {
        parameters: {
            query: {
                /** @description Unix seconds or RFC 3339. */
                end?: number | string;
                /** @description How many at most. */
                limit?: number;
                /** @description A selector of series. */
                "match[]": string;
                /** @description Unix seconds or RFC 3339. */
                start?: number | string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Labels"][];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promBuild: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: {
                            revision: string;
                            version: string;
                        };
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promFlags: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: {
                            [key: string]: string;
                        };
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promRuntime: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: {
                            otlp?: {
                                grpc: components["schemas"]["OtlpListener"];
                                http: components["schemas"]["OtlpListener"];
                            };
                            startTime: string;
                        };
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
    promTsdb: {
        parameters: {
            query?: {
                /** @description How many at most. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["TsdbStatus"];
                        infos?: string[];
                        /** @enum {string} */
                        status: "success";
                        warnings?: string[];
                    };
                };
            };
            /** @description Why there is no answer. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PrometheusError"];
                };
            };
        };
    };
}
