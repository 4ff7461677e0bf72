use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("tenant_events", "event_id, action, actor", "'{id}', 'test', 'test'"),
    (
        "tenant_log",
        "log, entry, subject_id, adopted, content, hash",
        "'events', {n}000, md5('{n}')::uuid, false, sha256('{n}'), sha256('{n}')",
    ),
    ("users", "user_id, email, role", "'{id}', 'twin{n}@twin.example', 'viewer'"),
    (
        "break_glass_grants",
        "grant_id, opened_by, expires_at, closed_at, reason, ticket",
        "'{id}', 'test', '2024-01-02', '2024-01-02', 'test', 'T-{n}'",
    ),
];
