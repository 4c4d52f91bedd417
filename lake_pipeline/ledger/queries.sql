-- Every statement of the ledger. Conditions on status are written out, for the partial indexes to match them.
-- What changes files, and what can only be of files that may change, is about live_files; what asks for any file reads
-- the view file_processing_status, which shows the settled ones too.

-- name: lock_dataset(dataset)$
-- What changes which version of a key is current runs alone in its dataset; ends with the transaction. Who then stands
-- still, frozen or cut off from the network, is put out as limit_idleness has it.
SELECT pg_advisory_xact_lock(hashtextextended('lake.dataset.' || :dataset, 0))
FROM set_config('idle_in_transaction_session_timeout', '2min', true);

-- name: share_dataset(dataset)$
-- What works on one manifest runs beside others of its dataset, but not beside lock_dataset; for as long as a lease.
SELECT pg_advisory_xact_lock_shared(hashtextextended('lake.dataset.' || :dataset, 0))
FROM set_config('idle_in_transaction_session_timeout', '2min', true);

-- name: join_by_hash#
-- Thousands of files are joined with what is given of them. A planner that has not heard of their manifest yet takes
-- them for one, and would go through all that is given for each.
SET LOCAL enable_nestloop = off;

-- name: join_as_planned#
-- The others are joined by index.
SET LOCAL enable_nestloop = on;

-- name: now()$
-- The time by which all leases and waits go.
SELECT clock_timestamp();

-- ---------------------------------------------------------------- discovery

-- name: create_incoming#
-- Where a batch of listed objects is copied to.
CREATE TEMP TABLE incoming (
    s3_key text COLLATE "C", etag text COLLATE "C", size bigint, last_modified timestamptz,
    landing_group text COLLATE "C", known boolean NOT NULL DEFAULT false
) ON COMMIT DROP;

-- name: none_is_between(dataset)$
-- Whether no known key is between the least and the greatest of these, as in most pages of a first listing.
SELECT NOT EXISTS (
    SELECT FROM lake.live_files f WHERE f.dataset = :dataset AND f.s3_key BETWEEN page.least AND page.greatest OFFSET 0
) AND NOT EXISTS (
    SELECT FROM lake.settled_files f WHERE f.dataset = :dataset AND f.s3_key BETWEEN page.least AND page.greatest OFFSET 0
)
FROM (SELECT min(s3_key) AS least, max(s3_key) AS greatest FROM incoming) page;

-- name: mark_known(dataset)!
-- Which of the keys the ledger has, in any version; how many. Each is looked up: without the OFFSET all files of the
-- dataset may be read instead.
UPDATE incoming i SET known = true
WHERE EXISTS (SELECT FROM lake.live_files f WHERE f.dataset = :dataset AND f.s3_key = i.s3_key OFFSET 0)
    OR EXISTS (SELECT FROM lake.settled_files f WHERE f.dataset = :dataset AND f.s3_key = i.s3_key OFFSET 0);

-- name: register_new(dataset)!
-- Insert them all, for none of the keys is known.
INSERT INTO lake.live_files (dataset, s3_key, etag, size, last_modified, landing_group)
SELECT :dataset, s3_key, etag, size, last_modified, landing_group FROM incoming;

-- name: doubtful_incoming(dataset)
-- Unknown versions that are older than a known one of their key: whoever saw them may have been slow to say so. To the
-- second, for S3's HEAD tells no more than that.
SELECT i.s3_key, i.etag FROM incoming i
WHERE i.known AND date_trunc('second', i.last_modified) < (
    SELECT date_trunc('second', max(f.last_modified)) FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = i.s3_key
) AND NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.status <> 'SUPERSEDED'
);

-- name: forget_incoming(keys)!
-- Leave these out of what is registered.
DELETE FROM incoming WHERE s3_key = ANY (:keys);

-- name: register_incoming(dataset)^
-- Insert what is new; how many rows that were, and which of their keys had an older version.
WITH added AS (
    INSERT INTO lake.live_files (dataset, s3_key, etag, size, last_modified, landing_group)
    SELECT :dataset, s3_key, etag, size, last_modified, landing_group FROM incoming i
    WHERE NOT i.known OR NOT EXISTS (
        SELECT FROM lake.settled_files s
        WHERE s.dataset = :dataset AND s.s3_key = i.s3_key AND coalesce(encode(s.etag_bytes, 'hex'), s.etag_text) = i.etag
        OFFSET 0
    )
    ON CONFLICT DO NOTHING
    RETURNING s3_key
)
SELECT count(*) AS added, coalesce(array_agg(s3_key) FILTER (WHERE i.known), '{}') AS versioned
FROM added JOIN incoming i USING (s3_key);

-- name: register_unseen(dataset)!
-- Insert what is of keys that have no version yet.
INSERT INTO lake.live_files (dataset, s3_key, etag, size, last_modified, landing_group)
SELECT :dataset, s3_key, etag, size, last_modified, landing_group FROM incoming WHERE NOT known;

-- name: otherwise_known(dataset)
-- Keys that are known, but not in this version, or were done with in it.
SELECT i.s3_key FROM incoming i
WHERE i.known AND NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.status <> 'SUPERSEDED'
);

-- name: restore_incoming(dataset)
-- A superseded version that lies in the store again is the newest one again; its keys.
UPDATE lake.live_files f
SET id = DEFAULT, status = 'PENDING', manifest_id = NULL, retry_count = 0, error_class = NULL, error_message = NULL,
    last_modified = i.last_modified, discovered_at = now(), claimed_at = NULL, processed_at = NULL, rows_read = NULL,
    rows_written = NULL, rows_rescued = NULL, rows_quarantined = NULL, rows_dropped = NULL, rows_exploded = NULL,
    rows_erased = NULL, archived_key = NULL, archived_etag = NULL, archived_size = NULL, relanded = false
FROM incoming i
WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.status = 'SUPERSEDED'
    -- A late notice of the old upload is not a new upload.
    AND i.last_modified >= (
        SELECT max(known.last_modified) FROM lake.file_processing_status known
        WHERE known.dataset = f.dataset AND known.s3_key = f.s3_key
    )
RETURNING f.s3_key;

-- name: settled_relanded(dataset)
-- The keys of those that the two statements below change and that are settled.
SELECT i.s3_key FROM incoming i JOIN lake.settled_files s
    ON s.dataset = :dataset AND s.s3_key = i.s3_key AND coalesce(encode(s.etag_bytes, 'hex'), s.etag_text) = i.etag
WHERE i.known AND s.size = i.size AND (s.archived_key IS NOT NULL OR EXISTS (
    SELECT FROM lake.live_files unread
    WHERE unread.dataset = :dataset AND unread.s3_key = s.s3_key AND unread.status = 'QUARANTINED'
));

-- name: mark_relanded(dataset)!
-- Versions that were moved away and lie where they landed again: the same bytes were uploaded once more.
UPDATE lake.live_files f SET relanded = true
FROM incoming i
WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.size = i.size
    AND f.status <> 'SUPERSEDED' AND f.archived_key IS NOT NULL AND NOT f.relanded;

-- name: supersede_unread_replacements(dataset)!
-- Versions that could not be read, where the one before them, whose rows stayed in the lake, was uploaded once more.
WITH back AS (
    UPDATE lake.live_files f SET last_modified = i.last_modified
    FROM incoming i
    WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.size = i.size
        AND f.status = 'SUCCEEDED' AND i.last_modified > f.last_modified
        AND EXISTS (
            SELECT FROM lake.live_files unread
            WHERE unread.dataset = f.dataset AND unread.s3_key = f.s3_key AND unread.id > f.id
                AND unread.status = 'QUARANTINED' AND unread.last_modified <= i.last_modified
        )
    RETURNING f.id, f.s3_key
)
UPDATE lake.live_files unread SET status = 'SUPERSEDED'
FROM back
WHERE unread.dataset = :dataset AND unread.s3_key = back.s3_key AND unread.id > back.id
    AND unread.status = 'QUARANTINED';

-- name: attach_new_versions(dataset, keys)!
-- Where an older version has rows in the lake, its manifest is planned again with the new one in its place.
WITH newest AS (
    SELECT DISTINCT ON (f.s3_key) f.id, f.s3_key
    FROM unnest(:keys::text[]) AS k (s3_key)
    JOIN lake.live_files f ON f.dataset = :dataset AND f.s3_key = k.s3_key
    WHERE f.status = 'PENDING' AND f.manifest_id IS NULL
    ORDER BY f.s3_key, f.id DESC
), holder AS (
    SELECT DISTINCT ON (n.id) n.id, older.manifest_id
    FROM newest n
    JOIN lake.file_processing_status older
        ON older.dataset = :dataset AND older.s3_key = n.s3_key AND older.id < n.id
    JOIN lake.manifests m ON m.dataset = older.dataset AND m.manifest_id = older.manifest_id
    WHERE older.status IN ('SUCCEEDED', 'PENDING', 'FAILED') AND m.committed_at IS NOT NULL
        AND (m.state <> 'RUNNING' OR m.held_state IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM lake.live_files busy
            WHERE busy.dataset = :dataset AND busy.s3_key = n.s3_key AND busy.status = 'PROCESSING'
        )
    ORDER BY n.id, older.id DESC
), planned AS (
    -- One that is held for an erasure is planned as soon as it is let go.
    UPDATE lake.manifests m
    SET state = CASE WHEN held_state IS NULL THEN 'PLANNED' ELSE state END,
        held_state = CASE WHEN held_state IS NOT NULL THEN 'PLANNED' END,
        failures = 0, error_message = NULL, planned_at = now()
    WHERE m.dataset = :dataset AND m.manifest_id IN (SELECT manifest_id FROM holder)
)
UPDATE lake.live_files f SET manifest_id = holder.manifest_id, rows_written = NULL
FROM holder WHERE f.id = holder.id;

-- name: supersede_old_versions(dataset, keys)!
-- Older versions that are not being converted, and whose rows are not in the lake, are done with. One that waits for a
-- replay has rows there: a count of them is what only a commit gives to a file of a manifest.
UPDATE lake.live_files older SET status = 'SUPERSEDED'
FROM unnest(:keys::text[]) AS k (s3_key)
WHERE older.dataset = :dataset AND older.s3_key = k.s3_key
    AND older.status IN ('PENDING', 'FAILED', 'QUARANTINED')
    AND NOT (older.status <> 'QUARANTINED' AND older.rows_written IS NOT NULL AND EXISTS (
        SELECT FROM lake.manifests m
        WHERE m.dataset = older.dataset AND m.manifest_id = older.manifest_id AND m.committed_at IS NOT NULL
    ))
    AND EXISTS (
        SELECT FROM lake.live_files newer
        WHERE newer.dataset = :dataset AND newer.s3_key = k.s3_key AND newer.id > older.id
            AND newer.status = 'PENDING'
    );

-- name: unconverted_versions(dataset, keys)
-- Versions of these keys that no manifest holds and whose rows are not in the lake; not those that were moved away, which
-- nobody deletes by their keys.
SELECT id, s3_key FROM lake.live_files
WHERE dataset = :dataset AND s3_key = ANY (:keys) AND status IN ('PENDING', 'FAILED') AND manifest_id IS NULL
    AND archived_key IS NULL;

-- name: supersede_deleted(dataset, ids, message)!
-- Those of the versions that are still so were deleted, and nothing came in their place.
UPDATE lake.live_files
SET status = 'SUPERSEDED', error_class = 'ObjectDeleted', error_message = :message, processed_at = clock_timestamp()
WHERE dataset = :dataset AND id = ANY (:ids) AND status IN ('PENDING', 'FAILED') AND manifest_id IS NULL
    AND archived_key IS NULL;

-- name: archived_versions(dataset, keys, etags)
-- Those of the object versions that were moved away, so that they can lie under their keys only if they landed again.
SELECT k.s3_key FROM unnest(:keys::text[], :etags::text[]) AS k (s3_key, etag)
WHERE EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = k.s3_key AND f.etag = k.etag
        AND f.status <> 'SUPERSEDED' AND f.archived_key IS NOT NULL AND NOT f.relanded
    OFFSET 0 -- each is looked up
);

-- name: save_cursor(dataset, last_key)!
-- Remember how far a listing came.
INSERT INTO lake.discovery_cursors (dataset, last_key) VALUES (:dataset, :last_key)
ON CONFLICT (dataset) DO UPDATE SET last_key = excluded.last_key, updated_at = now();

-- name: clear_cursor(dataset)!
-- The listing came to its end.
DELETE FROM lake.discovery_cursors WHERE dataset = :dataset;

-- name: cursor(dataset)$
-- Where to go on with a listing.
SELECT last_key FROM lake.discovery_cursors WHERE dataset = :dataset;

-- name: report_progress(dataset, url)^
-- How far an inventory report was read: whole files, and rows of the next one.
SELECT files, rows FROM lake.report_cursors WHERE dataset = :dataset AND url = :url;

-- name: save_report_progress(dataset, url, files, rows)!
-- Remember it, of the newest report only.
INSERT INTO lake.report_cursors (dataset, url, files, rows) VALUES (:dataset, :url, :files, :rows)
ON CONFLICT (dataset) DO UPDATE
SET url = excluded.url, files = excluded.files, rows = excluded.rows, updated_at = now();

-- ---------------------------------------------------------------- planning

-- name: revive_failed(dataset, max_retries, backoff, keys)!
-- Failed files whose backoff, doubled with each failure up to a thousandfold, has passed are claimable again.
UPDATE lake.live_files SET status = 'PENDING', rows_written = NULL
WHERE dataset = :dataset AND status = 'FAILED' AND manifest_id IS NULL AND retry_count <= :max_retries
    AND (:keys::text[] IS NULL OR s3_key = ANY (:keys))
    AND processed_at + :backoff::interval * power(2, least(retry_count - 1, 10)) <= now();

-- name: backlog(dataset)
-- record_class: GroupBacklog
-- What waits for a manifest, by landing group; read from the claimable_files index alone.
SELECT landing_group, count(*) AS files, sum(size)::bigint AS bytes, min(discovered_at) AS oldest
FROM lake.live_files
WHERE dataset = :dataset AND status = 'PENDING' AND manifest_id IS NULL
GROUP BY landing_group;

-- name: backlog_of(dataset, keys)
-- record_class: GroupBacklog
-- The same of these keys only.
SELECT landing_group, count(*) AS files, sum(size)::bigint AS bytes, min(discovered_at) AS oldest
FROM lake.live_files
WHERE dataset = :dataset AND status = 'PENDING' AND manifest_id IS NULL AND s3_key = ANY (:keys)
GROUP BY landing_group;

-- name: lock_slug(dataset, slug)$
-- One planner at a time counts a slug's manifests; ends with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('lake.slug.' || :dataset || '/' || :slug, 0));

-- name: next_sequence(dataset, slug)$
-- The number of the slug's next manifest.
SELECT coalesce(max(sequence), 0) + 1 FROM lake.manifests WHERE dataset = :dataset AND slug = :slug;

-- name: claim_files(dataset, landing_group, manifest_id, max_files, max_bytes, keys)
-- record_class: ManifestFile
-- Claim the oldest files of a group, up to both limits but at least one. They are found by claimable_files, whatever the
-- planner thinks that it knows: no other index has this order.
WITH candidate AS (
    SELECT f.id, f.size FROM lake.live_files f
    WHERE f.dataset = :dataset AND f.landing_group BETWEEN :landing_group AND :landing_group AND f.status = 'PENDING' AND f.manifest_id IS NULL
        AND (:keys::text[] IS NULL OR f.s3_key = ANY (:keys))
        -- A version whose forerunner is being converted waits, so that one key never has rows twice.
        AND NOT EXISTS (
            SELECT FROM lake.live_files older
            WHERE older.dataset = f.dataset AND older.s3_key = f.s3_key AND older.status = 'PROCESSING'
            OFFSET 0 -- else a planner that thinks that hardly any is PROCESSING compares each file with all that are
        )
    ORDER BY f.landing_group, f.id LIMIT :max_files
    FOR UPDATE OF f SKIP LOCKED
), counted AS (
    SELECT id, row_number() OVER by_id AS position, sum(size) OVER by_id AS total
    FROM candidate WINDOW by_id AS (ORDER BY id)
), claimed AS (
    UPDATE lake.live_files f
    SET status = 'PROCESSING', manifest_id = :manifest_id, claimed_at = now(), rows_written = NULL, error_class = NULL,
        error_message = NULL
    FROM counted
    WHERE f.id = counted.id AND (counted.position = 1 OR counted.total <= :max_bytes)
    RETURNING f.id, f.s3_key, coalesce(f.archived_etag, f.etag) AS etag, coalesce(f.archived_size, f.size) AS size,
        f.archived_key
)
SELECT id, s3_key AS key, etag, size, coalesce(archived_key, s3_key) AS location FROM claimed ORDER BY id;

-- name: insert_manifest(dataset, manifest_id, landing_group, slug, sequence, files, bytes)!
-- Record a manifest that was just claimed.
INSERT INTO lake.manifests (dataset, manifest_id, landing_group, slug, sequence, files, bytes)
VALUES (:dataset, :manifest_id, :landing_group, :slug, :sequence, :files, :bytes);

-- name: pending_work(dataset, max_retries)^
-- record_class: PendingWork
-- What is left to do in a dataset.
SELECT
    (SELECT count(*) FROM lake.live_files
        WHERE dataset = :dataset AND status = 'PENDING' AND manifest_id IS NULL) AS claimable,
    (SELECT count(*) FROM lake.live_files
        WHERE dataset = :dataset AND status = 'FAILED' AND manifest_id IS NULL
            AND retry_count <= :max_retries) AS retryable,
    (SELECT count(*) FROM lake.manifests
        WHERE dataset = :dataset AND state <> 'COMMITTED'
            AND (state = 'PLANNED' OR state = 'FAILED' AND failures <= :max_retries)) AS due,
    (SELECT count(*) FROM lake.manifests
        WHERE dataset = :dataset AND state <> 'COMMITTED' AND state = 'RUNNING') AS running;

-- ---------------------------------------------------------------- attempts

-- name: due_manifests(dataset, max_retries, max_manifests, keys)
-- record_class: DueManifest
-- Manifests to be begun, oldest first.
SELECT manifest_id, landing_group, attempt + 1 AS next_attempt, files, bytes
FROM lake.manifests
WHERE dataset = :dataset AND state <> 'COMMITTED'
    AND (state = 'PLANNED' OR state = 'FAILED' AND failures <= :max_retries)
    AND (:keys::text[] IS NULL OR manifest_id IN (
        SELECT f.manifest_id FROM lake.file_processing_status f
        WHERE f.dataset = :dataset AND f.s3_key = ANY (:keys) AND f.status <> 'SUPERSEDED'
    ))
ORDER BY planned_at, manifest_id LIMIT :max_manifests;

-- name: running_manifests(dataset)
-- Manifests that are being worked on, by whom, and whether that worker has stopped renewing its lease.
SELECT manifest_id, coalesce(worker, ''), lease_expires_at < clock_timestamp() FROM lake.manifests
WHERE dataset = :dataset AND state <> 'COMMITTED' AND state = 'RUNNING'
FOR UPDATE SKIP LOCKED;

-- name: lock_manifest(dataset, manifest_id)^
-- Hold a manifest's row, and say who works on it.
SELECT state, attempt, coalesce(worker, '') AS worker, coalesce(lease_expires_at >= clock_timestamp(), false) AS leased
FROM lake.manifests WHERE dataset = :dataset AND manifest_id = :manifest_id FOR UPDATE;

-- name: begin_attempt(dataset, manifest_id, worker, lease)$
-- Give a manifest to a worker; an attempt that is taken over from another worker counts as failed.
UPDATE lake.manifests
SET failures = failures
        + CASE WHEN state = 'RUNNING' AND held_state IS NULL AND worker IS DISTINCT FROM :worker THEN 1 ELSE 0 END,
    state = 'RUNNING', held_state = NULL, attempt = attempt + 1,
    worker = :worker, lease_expires_at = clock_timestamp() + :lease::interval, started_at = clock_timestamp(),
    -- The run of a worker that was killed is the next one's to settle.
    engine_run_id = CASE WHEN engine_attempt IS NOT NULL THEN engine_run_id END, error_message = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id
RETURNING attempt;

-- name: manifest_files(dataset, manifest_id)
-- record_class: ManifestFile
-- The files that a replay converts: the newest version of each key.
SELECT id, s3_key AS key, coalesce(archived_etag, etag) AS etag, coalesce(archived_size, size) AS size,
    coalesce(archived_key, s3_key) AS location
FROM (
    SELECT DISTINCT ON (s3_key) * FROM lake.file_processing_status
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND status NOT IN ('SUPERSEDED', 'QUARANTINED')
    ORDER BY s3_key, id DESC
) newest
-- Of which every record was erased, there is nothing to convert.
WHERE archived_size IS DISTINCT FROM 0
ORDER BY s3_key;

-- name: begin_files(dataset, manifest_id)!
-- The same files are now being converted; those of a manifest that was just claimed are so already.
UPDATE lake.live_files
SET status = 'PROCESSING', claimed_at = now(), error_class = NULL, error_message = NULL
WHERE id IN (
    SELECT DISTINCT ON (s3_key) id FROM lake.live_files
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND status NOT IN ('SUPERSEDED', 'QUARANTINED')
    ORDER BY s3_key, id DESC
) AND archived_size IS DISTINCT FROM 0
    AND (status <> 'PROCESSING' OR error_class IS NOT NULL OR error_message IS NOT NULL);

-- name: is_pruned(dataset, manifest_id)$
-- Whether the manifest has rows in the lake, and none of the files that they came from is on record any more.
SELECT EXISTS (
    SELECT FROM lake.outputs WHERE dataset = :dataset AND manifest_id = :manifest_id AND committed AND rows > 0
) AND NOT EXISTS (
    SELECT FROM lake.file_processing_status
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND status NOT IN ('SUPERSEDED', 'QUARANTINED')
);

-- name: heartbeat(dataset, manifest_id, attempt, lease)!
-- Renew the lease of the attempt that holds the manifest; who freezes in between holds its row no longer than that.
UPDATE lake.manifests SET lease_expires_at = clock_timestamp() + :lease::interval
FROM set_config('idle_in_transaction_session_timeout', '2min', true)
WHERE dataset = :dataset AND manifest_id = :manifest_id AND attempt = :attempt AND state = 'RUNNING';

-- name: record_engine_run(dataset, manifest_id, run_id, engine_attempt)!
-- What the engine calls the run, so that it can be found again or stopped, and the attempt whose staging it writes.
UPDATE lake.manifests SET engine_run_id = :run_id, engine_attempt = :engine_attempt
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: forget_engine_run(dataset, manifest_id)!
-- Nothing more will come of the engine's run.
UPDATE lake.manifests SET engine_attempt = NULL WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: record_files_run(dataset, manifest_id, run_id)!
-- The same on the files being converted.
UPDATE lake.live_files SET glue_job_run_id = :run_id
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- name: keys_with_waiting_version(dataset, manifest_id)
-- Keys being converted of which a newer version waits.
SELECT DISTINCT f.s3_key
FROM lake.live_files f
WHERE f.dataset = :dataset AND f.manifest_id = :manifest_id AND f.status = 'PROCESSING' AND EXISTS (
    SELECT FROM lake.live_files newer
    WHERE newer.dataset = f.dataset AND newer.s3_key = f.s3_key AND newer.id > f.id AND newer.status = 'PENDING'
    OFFSET 0 -- as in claim_files
);

-- name: finish_files(dataset, manifest_id, ids, statuses, read, written, rescued, quarantined, dropped, exploded, erased, classes, messages)!
-- Record what became of each file; a failed one leaves the manifest, to be claimed again.
UPDATE lake.live_files f
SET status = o.status, rows_read = o.rows_read, rows_written = o.rows_written, rows_rescued = o.rows_rescued,
    rows_quarantined = o.rows_quarantined, rows_dropped = o.rows_dropped, rows_exploded = o.rows_exploded,
    rows_erased = o.rows_erased, error_class = o.error_class, error_message = o.error_message, processed_at = clock_timestamp(),
    retry_count = f.retry_count + CASE WHEN o.status = 'FAILED' THEN 1 ELSE 0 END,
    manifest_id = CASE WHEN o.status = 'FAILED' THEN NULL ELSE f.manifest_id END
FROM unnest(
    :ids::bigint[], :statuses::text[], :read::bigint[], :written::bigint[], :rescued::bigint[], :quarantined::bigint[],
    :dropped::bigint[], :exploded::bigint[], :erased::bigint[], :classes::text[], :messages::text[]
) AS o (id, status, rows_read, rows_written, rows_rescued, rows_quarantined, rows_dropped, rows_exploded,
    rows_erased, error_class, error_message)
WHERE f.id = o.id AND f.dataset = :dataset AND f.manifest_id = :manifest_id AND f.status = 'PROCESSING';

-- name: unfinished_files(dataset, manifest_id)$
-- Files of the manifest that were given no outcome.
SELECT count(*) FROM lake.live_files
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- name: supersede_replaced(dataset, manifest_id, ids)!
-- Older versions in the manifest, which the committed files replaced.
UPDATE lake.live_files SET status = 'SUPERSEDED'
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status IN ('PENDING', 'SUCCEEDED', 'FAILED')
    AND id NOT IN (SELECT unnest(:ids::bigint[]))
    -- A file of which every record was erased has no outcome, and stays unless a newer version has one.
    AND (archived_size IS DISTINCT FROM 0 OR EXISTS (
        SELECT FROM lake.live_files newer
        WHERE newer.id = ANY (:ids::bigint[]) AND newer.s3_key = lake.live_files.s3_key
    ));

-- name: commit_manifest(dataset, manifest_id, schema_version, quarantined_records, metrics)!
-- The manifest is done.
UPDATE lake.manifests
SET state = 'COMMITTED', committed_at = clock_timestamp(), changes = changes + 1, failures = 0, replay = false,
    lease_expires_at = NULL, settled = false, error_message = NULL, schema_version = :schema_version,
    quarantined_records = :quarantined_records, metrics = :metrics,
    -- A run that another engine took over from has no part in these rows.
    engine_run_id = CASE WHEN coalesce(engine_attempt, attempt) = attempt THEN engine_run_id END, engine_attempt = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: fail_manifest(dataset, manifest_id, message)!
-- The attempt failed as a whole.
UPDATE lake.manifests SET state = 'FAILED', failures = failures + 1, lease_expires_at = NULL, error_message = :message
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: fail_files(dataset, manifest_id, message)!
-- Its files failed with it, and stay in it.
UPDATE lake.live_files
SET status = 'FAILED', retry_count = retry_count + 1, error_message = :message, processed_at = clock_timestamp()
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- ---------------------------------------------------------------- versions

-- name: replacements(dataset, manifest_ids)
-- record_class: Replacement
-- New versions that wait in committed manifests to replace the rows of an older one. Only a commit counts rows. Most
-- manifests were never committed, and their files are not looked at.
SELECT f.id, f.manifest_id, f.s3_key AS key, f.etag, f.size, coalesce(f.archived_key, f.s3_key) AS location
FROM lake.manifests m CROSS JOIN LATERAL (
    SELECT * FROM lake.live_files f
    WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
        AND f.status IN ('PENDING', 'PROCESSING', 'FAILED') AND f.rows_written IS NULL
        AND EXISTS (
            SELECT FROM lake.file_processing_status older
            WHERE older.dataset = f.dataset AND older.s3_key = f.s3_key AND older.manifest_id = f.manifest_id
                AND older.id < f.id AND older.status IN ('PENDING', 'PROCESSING', 'SUCCEEDED', 'FAILED')
                AND older.rows_written IS NOT NULL
            OFFSET 0 -- as in claim_files
        )
    OFFSET 0
) f
WHERE m.dataset = :dataset AND m.manifest_id = ANY (:manifest_ids) AND m.committed_at IS NOT NULL
ORDER BY f.id;

-- name: withdraw_files(dataset, manifest_id, ids, statuses, classes, messages)!
-- These versions are not to be converted any more.
UPDATE lake.live_files f
SET status = w.status, error_class = w.error_class, error_message = w.error_message, processed_at = clock_timestamp()
FROM unnest(:ids::bigint[], :statuses::text[], :classes::text[], :messages::text[])
    AS w (id, status, error_class, error_message)
WHERE f.id = w.id AND f.dataset = :dataset AND f.manifest_id = :manifest_id;

-- name: is_as_committed(dataset, manifest_id)$
-- Whether the rows in the lake are just those of the manifest's files, and nobody asked for them to be made again.
SELECT NOT m.replay AND NOT EXISTS (
    SELECT FROM lake.live_files f
    WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
        AND f.status IN ('PENDING', 'PROCESSING', 'FAILED') AND f.rows_written IS NULL
)
FROM lake.manifests m WHERE m.dataset = :dataset AND m.manifest_id = :manifest_id;

-- name: recommit_files(dataset, manifest_id)!
-- Files whose rows are in the lake are as their commit left them.
UPDATE lake.live_files
SET status = 'SUCCEEDED', retry_count = 0, error_class = NULL, error_message = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status IN ('PENDING', 'PROCESSING', 'FAILED');

-- name: recommit_manifest(dataset, manifest_id)!
-- And so is the manifest: readers are to see what they saw, and no commit is to be told of.
UPDATE lake.manifests
SET state = 'COMMITTED', failures = 0, lease_expires_at = NULL, error_message = NULL, told_attempt = attempt,
    recorded_changes = NULL -- its document knows nothing of the versions that were withdrawn
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: replan_files(dataset, manifest_id)!
-- Files that were being converted wait for the next attempt.
UPDATE lake.live_files SET status = 'PENDING'
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- name: replan_manifest(dataset, manifest_id)!
-- And so does the manifest.
UPDATE lake.manifests
SET state = 'PLANNED', lease_expires_at = NULL, error_message = NULL, planned_at = now(),
    recorded_changes = NULL -- the same
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: release_manifest(dataset, manifest_id)!
-- The attempt was broken off, and counts as none.
UPDATE lake.manifests SET state = 'PLANNED', worker = NULL, lease_expires_at = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- ---------------------------------------------------------------- outputs

-- name: intend_outputs(dataset, manifest_id, attempt, paths, rows, bytes)!
-- Record curated files before they are published; a committed one stays so until the next commit.
INSERT INTO lake.outputs AS o (dataset, manifest_id, attempt, path, rows, bytes)
SELECT :dataset, :manifest_id, :attempt, * FROM unnest(:paths::text[], :rows::bigint[], :bytes::bigint[])
ON CONFLICT (dataset, path) DO UPDATE SET attempt = excluded.attempt WHERE o.manifest_id = excluded.manifest_id;

-- name: retire_outputs(dataset, manifest_id)!
-- What an earlier commit listed counts no more, unless the next statement lists it again.
UPDATE lake.outputs SET committed = false WHERE dataset = :dataset AND manifest_id = :manifest_id AND committed;

-- name: commit_outputs(dataset, manifest_id, attempt, paths, rows, bytes, file_ids, staged)!
-- The curated files that hold the manifest's rows; those with a staged path get their content after the commit.
INSERT INTO lake.outputs AS o (dataset, manifest_id, attempt, path, rows, bytes, file_id, staged_path, committed)
SELECT :dataset, :manifest_id, :attempt, u.*, true
FROM unnest(:paths::text[], :rows::bigint[], :bytes::bigint[], :file_ids::bigint[], :staged::text[]) AS u
ON CONFLICT (dataset, path) DO UPDATE
SET attempt = excluded.attempt, rows = excluded.rows, bytes = excluded.bytes, file_id = excluded.file_id,
    staged_path = excluded.staged_path, committed = true
WHERE o.manifest_id = excluded.manifest_id;

-- name: manifests_to_release(dataset)
-- Manifests with committed files that are not under their names yet, or with names that no commit lists any more.
SELECT DISTINCT manifest_id FROM lake.outputs
WHERE dataset = :dataset AND (staged_path IS NOT NULL OR NOT committed) ORDER BY manifest_id;

-- name: outputs_to_release(dataset, manifest_id)
-- Committed content and the names that it is still to get.
SELECT staged_path, path FROM lake.outputs
WHERE dataset = :dataset AND manifest_id = :manifest_id AND committed AND staged_path IS NOT NULL ORDER BY path;

-- name: unreleased_outputs(dataset)
-- Names that are still to get committed content.
SELECT path FROM lake.outputs WHERE dataset = :dataset AND staged_path IS NOT NULL;

-- name: is_released(dataset, manifest_id)$
-- Whether every committed file of the manifest is under its name.
SELECT NOT EXISTS (
    SELECT FROM lake.outputs WHERE dataset = :dataset AND manifest_id = :manifest_id AND staged_path IS NOT NULL
);

-- name: limit_idleness#
-- A machine that is cut off does not hold its locks for ever; longer than any one copy takes.
SET LOCAL idle_in_transaction_session_timeout = '10min';

-- name: mark_released(dataset, manifest_id, paths)!
-- Those names of the manifest have their content, and may be shown.
WITH released AS (
    UPDATE lake.outputs SET staged_path = NULL WHERE dataset = :dataset AND path = ANY (:paths::text[])
)
UPDATE lake.manifests SET changes = changes + 1
WHERE dataset = :dataset AND manifest_id = :manifest_id AND cardinality(:paths::text[]) > 0;

-- name: output_sources(dataset)
-- The curated files that are one raw file's, and that file's key.
SELECT o.path, f.s3_key FROM lake.outputs o JOIN lake.file_processing_status f USING (dataset, manifest_id)
WHERE o.dataset = :dataset AND o.committed AND f.id = o.file_id ORDER BY o.path;

-- name: uncommitted_keys(dataset, manifest_id, keys)
-- Those of these keys that are neither a committed output nor the document of the records set aside.
SELECT u.key FROM unnest(:keys::text[]) AS u (key)
WHERE NOT EXISTS (SELECT FROM lake.outputs o WHERE o.dataset = :dataset AND o.path = u.key AND o.committed)
    AND NOT EXISTS (
        SELECT FROM lake.manifests m
        WHERE m.dataset = :dataset AND m.manifest_id = :manifest_id AND m.quarantined_records = u.key
    );

-- name: manifest_leftovers(dataset, manifest_id)
-- Paths of a manifest that may be in the store and that no commit lists.
SELECT path FROM lake.outputs
WHERE dataset = :dataset AND manifest_id = :manifest_id AND NOT committed ORDER BY path;

-- name: leftover_outputs(dataset)
-- The same of every manifest that no one is working on.
SELECT o.path FROM lake.outputs o JOIN lake.manifests m USING (dataset, manifest_id)
WHERE o.dataset = :dataset AND NOT o.committed AND m.state <> 'RUNNING' ORDER BY o.path;

-- name: leftover_records(dataset, keys, manifest_ids, attempts)
-- Those of these documents of set-aside records that no commit lists, and whose attempt is over.
SELECT u.key
FROM unnest(:keys::text[], :manifest_ids::text[], :attempts::int[]) AS u (key, manifest_id, attempt)
JOIN lake.manifests m ON m.dataset = :dataset AND m.manifest_id = u.manifest_id
WHERE m.quarantined_records IS DISTINCT FROM u.key AND (u.attempt < m.attempt OR m.state <> 'RUNNING');

-- name: forget_outputs(dataset, paths)!
-- Those paths were deleted from the store.
DELETE FROM lake.outputs WHERE dataset = :dataset AND path = ANY (:paths::text[]) AND NOT committed;

-- name: committed_outputs(dataset)
-- record_class: OutputFile
-- The curated files of a dataset.
SELECT path, rows, bytes FROM lake.outputs WHERE dataset = :dataset AND committed ORDER BY path;

-- name: committed_rows(dataset)$
-- Of all curated files of a dataset.
SELECT coalesce(sum(rows), 0)::bigint FROM lake.outputs WHERE dataset = :dataset AND committed;

-- name: example_output(dataset)$
-- A curated file of a dataset, whichever.
SELECT path FROM lake.outputs WHERE dataset = :dataset AND committed LIMIT 1;

-- name: commit_mark(dataset)$
-- Differs after every change of what readers are to see; empty before the first. The times alone do not rise with the
-- commits, which may overtake one another, and the count alone is the same in a ledger that was begun anew.
SELECT coalesce(max(committed_at) || ' ' || sum(changes), '') FROM lake.manifests WHERE dataset = :dataset;

-- ---------------------------------------------------------------- catalogue

-- name: lock_catalogue(dataset)$
-- Who changes what the catalogue shows of a dataset does it alone; ends with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('lake.catalogue.' || :dataset, 0));

-- name: catalogue_mark(dataset)$
-- What the table shows.
SELECT mark FROM lake.catalogue_tables WHERE dataset = :dataset;

-- name: record_catalogue_mark(dataset, mark)!
-- The table shows this.
INSERT INTO lake.catalogue_tables (dataset, mark) VALUES (:dataset, :mark)
ON CONFLICT (dataset) DO UPDATE SET mark = excluded.mark;

-- name: changed_partitions(dataset, keys, awaited)
-- record_class: ShownPartition
-- Hive partitions whose committed files are not those that the catalogue shows; those that have none any more first.
WITH output AS (
    SELECT path, string_to_array(path, '/') AS parts FROM lake.outputs
    WHERE dataset = :dataset AND committed AND path <> ALL (:awaited::text[])
), listed AS (
    SELECT array_to_string(parts[cardinality(parts) - :keys : cardinality(parts) - 1], '/') AS partition, path FROM output
), wanted AS (
    SELECT partition, array_agg(path ORDER BY path) AS files, md5(string_agg(path, E'\n' ORDER BY path)) AS listing
    FROM listed GROUP BY partition
)
SELECT partition, coalesce(wanted.files, '{}') AS files, coalesce(wanted.listing, '') AS listing,
    shown.listing IS NOT NULL AS is_shown
FROM wanted
FULL JOIN (SELECT partition, listing FROM lake.catalogue_partitions WHERE dataset = :dataset) shown USING (partition)
WHERE wanted.listing IS DISTINCT FROM shown.listing
ORDER BY wanted.files IS NOT NULL, partition;

-- name: record_shown(dataset, partitions, listings)!
-- The catalogue shows these partitions with these files.
INSERT INTO lake.catalogue_partitions (dataset, partition, listing)
SELECT :dataset, * FROM unnest(:partitions::text[], :listings::text[])
ON CONFLICT (dataset, partition) DO UPDATE SET listing = excluded.listing;

-- name: forget_shown(dataset, partitions)!
-- The catalogue has these partitions no more.
DELETE FROM lake.catalogue_partitions WHERE dataset = :dataset AND partition = ANY (:partitions::text[]);

-- name: forget_catalogue_mark(dataset)!
-- The table is gone.
DELETE FROM lake.catalogue_tables WHERE dataset = :dataset;

-- name: forget_catalogue_partitions(dataset)!
-- And its partitions.
DELETE FROM lake.catalogue_partitions WHERE dataset = :dataset;

-- ---------------------------------------------------------------- notices

-- name: try_notices_lock(dataset)$
-- Whether no one else tells of the dataset; ends with the transaction.
SELECT pg_try_advisory_xact_lock(hashtextextended('lake.notices.' || :dataset, 0));

-- name: untold(dataset, most)
-- Manifests with something to tell, read from the untold_manifests index.
SELECT m.dataset, m.manifest_id, m.landing_group, m.state, m.attempt, m.failures, m.files, m.bytes, m.engine_run_id,
    m.error_message, m.planned_at, m.started_at, m.committed_at, m.metrics,
    m.told_planned_at IS DISTINCT FROM m.planned_at AS planned,
    m.state IN ('COMMITTED', 'FAILED') AND m.told_attempt IS DISTINCT FROM m.attempt AS ended,
    output.rows, output.outputs, file.succeeded_files, file.quarantined_files, file.quarantined_reason
FROM lake.manifests m
CROSS JOIN LATERAL (
    SELECT coalesce(sum(o.rows), 0)::bigint AS rows, count(*) AS outputs FROM lake.outputs o
    WHERE o.dataset = m.dataset AND o.manifest_id = m.manifest_id AND o.committed
) output
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE f.status = 'SUCCEEDED') AS succeeded_files,
        count(*) FILTER (WHERE f.status = 'QUARANTINED') AS quarantined_files,
        min(f.s3_key || ': ' || f.error_message) FILTER (WHERE f.status = 'QUARANTINED') AS quarantined_reason
    FROM lake.file_processing_status f WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
) file
WHERE m.dataset = :dataset AND (
    m.told_planned_at IS DISTINCT FROM m.planned_at
    OR m.state IN ('COMMITTED', 'FAILED') AND m.told_attempt IS DISTINCT FROM m.attempt
)
ORDER BY m.planned_at, m.manifest_id LIMIT :most;

-- name: record_told(dataset, manifest_ids, attempts, planned)!
-- That was told; what has happened since was not.
UPDATE lake.manifests m
SET told_attempt = coalesce(t.attempt, m.told_attempt), told_planned_at = t.planned_at
FROM unnest(:manifest_ids::text[], :attempts::int[], :planned::timestamptz[]) AS t (manifest_id, attempt, planned_at)
WHERE m.dataset = :dataset AND m.manifest_id = t.manifest_id;

-- name: forget_alerts(window)!
-- What was sent longer ago may be sent again.
DELETE FROM lake.alerts WHERE sent_at <= now() - :window::interval;

-- name: claim_alert(key)!
-- One sender has it.
INSERT INTO lake.alerts (key) VALUES (:key) ON CONFLICT DO NOTHING;

-- name: release_alert(key)!
-- It was not sent.
DELETE FROM lake.alerts WHERE key = :key;

-- name: file_totals()
-- record_class: FileTotals
-- Files and bytes by dataset and state: of live files from three small indexes, of settled ones from their manifests.
SELECT dataset, status, sum(files)::bigint AS files, sum(bytes)::bigint AS bytes FROM (
    SELECT dataset, 'PENDING' AS status, count(*) AS files, sum(size)::bigint AS bytes
    FROM lake.live_files WHERE status = 'PENDING' AND manifest_id IS NULL GROUP BY dataset
    UNION ALL
    SELECT dataset, status, count(*), sum(size)::bigint
    FROM lake.live_files WHERE manifest_id IS NULL AND status <> 'PENDING' GROUP BY dataset, status
    UNION ALL
    SELECT dataset, status, count(*), sum(size)::bigint
    FROM lake.live_files WHERE manifest_id IS NOT NULL GROUP BY dataset, status
    UNION ALL
    SELECT dataset, 'SUCCEEDED', sum(settled_files), sum(settled_bytes)::bigint
    FROM lake.manifests WHERE settled_files > 0 GROUP BY dataset
) counted
GROUP BY dataset, status;

-- ---------------------------------------------------------------- archive

-- name: settled_where_they_landed(dataset, manifest_id)
-- Manifests with settled files that were not moved, as is right where they are kept.
SELECT DISTINCT manifest_id FROM lake.settled_files
WHERE dataset = :dataset AND archived_key IS NULL AND (:manifest_id::text IS NULL OR manifest_id = :manifest_id)
ORDER BY manifest_id;

-- name: files_to_archive(dataset, manifest_id)
-- record_class: ArchivableFile
-- Raw files whose fate is committed and that still lie where they landed, or in quarantine though they succeeded;
-- not those whose key holds a newer version by now.
WITH misplaced AS (
    SELECT id, s3_key, etag, size, status, archived_key, manifest_id FROM lake.live_files
    WHERE dataset = :dataset AND status IN ('SUCCEEDED', 'QUARANTINED') AND archived_key IS NULL
    UNION ALL
    SELECT id, s3_key, etag, size, status, archived_key, manifest_id FROM lake.live_files
    WHERE dataset = :dataset AND status = 'SUCCEEDED' AND starts_with(archived_key, 'quarantine/')
    UNION ALL
    -- Committed once and to be done again: who moved them may have been killed before it could say so.
    SELECT f.id, f.s3_key, f.etag, f.size, f.status, f.archived_key, f.manifest_id
    FROM lake.manifests m JOIN lake.live_files f USING (dataset, manifest_id)
    WHERE m.dataset = :dataset AND m.state <> 'COMMITTED' AND m.state <> 'RUNNING' AND m.committed_at IS NOT NULL
        AND f.status IN ('PENDING', 'FAILED') AND f.rows_written IS NOT NULL AND f.archived_key IS NULL
)
SELECT f.id, f.s3_key AS key, f.etag, f.size, f.status, coalesce(f.archived_key, f.s3_key) AS location
FROM misplaced f
WHERE (:manifest_id::text IS NULL OR f.manifest_id = :manifest_id)
    AND NOT EXISTS (
        SELECT FROM lake.file_processing_status newer
        WHERE newer.dataset = :dataset AND newer.s3_key = f.s3_key AND newer.id > f.id
            AND newer.status <> 'SUPERSEDED'
    )
ORDER BY f.s3_key;

-- name: relanded_files(dataset)
-- record_class: ArchivableFile
-- Raw files that were moved away and landed again, once no newer version is to be looked for under their keys;
-- `location` is where they were moved to.
SELECT f.id, f.s3_key AS key, f.etag, f.size, f.status, f.archived_key AS location FROM lake.live_files f
WHERE f.dataset = :dataset AND f.relanded AND f.status <> 'SUPERSEDED' AND f.archived_key IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM lake.live_files newer
        WHERE newer.dataset = f.dataset AND newer.s3_key = f.s3_key AND newer.id > f.id
            AND newer.status IN ('PENDING', 'PROCESSING', 'FAILED')
    )
ORDER BY f.s3_key;

-- name: lock_manifests_of(dataset, ids)
-- Hold the manifests of these files, in an order in which nobody stands in another's way. The files are looked up by
-- their ids, and no more is said of them: a planner with stale statistics would look by whatever else it has an index of.
WITH held AS MATERIALIZED (
    SELECT DISTINCT manifest_id FROM lake.live_files WHERE id = ANY (:ids::bigint[])
)
SELECT FROM lake.manifests
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM held)
ORDER BY manifest_id FOR UPDATE;

-- name: manifests_to_settle(dataset, most)
-- Committed manifests with files that may be settled, read from the unsettled_manifests index.
SELECT manifest_id FROM lake.manifests
WHERE dataset = :dataset AND state = 'COMMITTED' AND NOT settled ORDER BY committed_at LIMIT :most;

-- name: settle_files(dataset, manifest_id, keep, ids, keys)!
-- Files of which nothing more is expected to change leave the live ones: those of a manifest that lie where they belong,
-- or those that were just moved to these keys. Their manifests are locked. How many manifests those are.
WITH place AS (
    SELECT id, archived_key, true AS moved FROM unnest(:ids::bigint[], :keys::text[]) AS p (id, archived_key)
    UNION ALL
    SELECT id, archived_key, false FROM lake.live_files
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'SUCCEEDED'
        AND (archived_key IS NOT NULL OR :keep::boolean)
        AND NOT relanded AND archived_etag IS NULL AND archived_size IS NULL
), gone AS (
    DELETE FROM lake.live_files f USING place p, lake.manifests m
    WHERE f.id = p.id AND f.status = 'SUCCEEDED'
        -- By the manifest or by ids. By ids, whatever else an index could tell is hidden from the planner: with stale
        -- statistics it thinks that little is in the index by manifest, and reads all of it.
        AND (f.dataset = :dataset AND f.manifest_id = :manifest_id
            OR f.dataset || '' = :dataset AND f.id = ANY (:ids::bigint[]))
        AND m.dataset = :dataset AND m.manifest_id = coalesce(f.manifest_id, '') AND m.state = 'COMMITTED'
        AND (p.archived_key IS NOT NULL OR NOT p.moved) AND starts_with(p.archived_key, 'quarantine/') IS NOT TRUE
        -- What the table of settled files has no room for stays.
        AND f.landing_group = m.landing_group AND (f.glue_job_run_id IS NOT NULL OR m.engine_run_id IS NULL)
        AND num_nulls(f.rows_read, f.rows_written, f.rows_rescued, f.rows_quarantined, f.rows_dropped, f.rows_exploded,
            f.rows_erased) = 0
        AND num_nonnulls(f.error_class, f.error_message) = 0
        AND NOT EXISTS (SELECT FROM lake.settled_files s WHERE s.dataset = f.dataset AND s.s3_key = f.s3_key OFFSET 0)
    RETURNING f.*, p.archived_key AS lies_at, nullif(f.glue_job_run_id, m.engine_run_id) AS run_id,
        f.etag ~ '^([0-9a-f]{2})*$' AS etag_is_hex
), added AS (
    INSERT INTO lake.settled_files (id, size, last_modified, discovered_at, claimed_at, processed_at, rows_read,
        rows_written, rows_rescued, rows_quarantined, rows_dropped, rows_exploded, rows_erased, retry_count, dataset,
        manifest_id, s3_key, etag_bytes, etag_text, archived_key, glue_job_run_id)
    SELECT id, size, last_modified, discovered_at, claimed_at, processed_at, rows_read, rows_written,
        nullif(rows_rescued, 0), nullif(rows_quarantined, 0), nullif(rows_dropped, 0), nullif(rows_exploded, 0),
        nullif(rows_erased, 0), nullif(retry_count, 0), dataset, manifest_id, s3_key,
        CASE WHEN etag_is_hex THEN decode(etag, 'hex') END, CASE WHEN NOT etag_is_hex THEN etag END, lies_at, run_id
    FROM gone ORDER BY s3_key
    RETURNING manifest_id, size
)
UPDATE lake.manifests m
SET settled_files = m.settled_files + c.files, settled_bytes = m.settled_bytes + c.bytes
FROM (SELECT manifest_id, count(*) AS files, sum(size) AS bytes FROM added GROUP BY manifest_id) c
WHERE m.dataset = :dataset AND m.manifest_id = c.manifest_id;

-- name: mark_settled(dataset, manifest_id)!
-- Nothing more of the manifest is to be settled until something of it changes.
UPDATE lake.manifests SET settled = true
WHERE dataset = :dataset AND manifest_id = :manifest_id AND state = 'COMMITTED' AND NOT settled;

-- name: unsettle_files(dataset, manifest_ids, keys)!
-- Files of these manifests, or of these keys, are to change: they are live files again, as they were. Nobody settles
-- them meanwhile.
WITH back AS (
    DELETE FROM lake.settled_files s
    WHERE s.dataset = :dataset
        AND (:manifest_ids::text[] IS NULL OR s.manifest_id = ANY (:manifest_ids))
        AND (:keys::text[] IS NULL OR s.s3_key = ANY (:keys))
    RETURNING s.*
), counted AS (
    UPDATE lake.manifests m
    SET settled = false, settled_files = m.settled_files - c.files, settled_bytes = m.settled_bytes - c.bytes
    FROM (SELECT manifest_id, count(*) AS files, sum(size) AS bytes FROM back GROUP BY manifest_id) c
    WHERE m.dataset = :dataset AND m.manifest_id = c.manifest_id
)
INSERT INTO lake.live_files (id, dataset, s3_key, etag, size, last_modified, landing_group, status, manifest_id,
    glue_job_run_id, retry_count, discovered_at, claimed_at, processed_at, rows_read, rows_written, rows_rescued,
    rows_quarantined, rows_dropped, rows_exploded, rows_erased, archived_key)
SELECT s.id, s.dataset, s.s3_key, coalesce(encode(s.etag_bytes, 'hex'), s.etag_text), s.size, s.last_modified,
    m.landing_group, 'SUCCEEDED', s.manifest_id, coalesce(s.glue_job_run_id, m.engine_run_id),
    coalesce(s.retry_count, 0), s.discovered_at, s.claimed_at, s.processed_at, s.rows_read, s.rows_written,
    coalesce(s.rows_rescued, 0), coalesce(s.rows_quarantined, 0), coalesce(s.rows_dropped, 0),
    coalesce(s.rows_exploded, 0), coalesce(s.rows_erased, 0), s.archived_key
FROM back s JOIN lake.manifests m USING (dataset, manifest_id);

-- name: record_archived(ids, keys)!
-- Where raw files lie now that are not settled; found by their ids alone, as above.
UPDATE lake.live_files f SET archived_key = a.archived_key, relanded = false, archived_etag = NULL, archived_size = NULL
FROM unnest(:ids::bigint[], :keys::text[]) AS a (id, archived_key)
WHERE f.id = a.id AND f.id = ANY (:ids::bigint[]);

-- name: prune_files(dataset, keep, most)$
-- Forget the files of some manifests that were committed so long ago, each manifest as a whole: a replay of half of one
-- would lose rows. Not before every file is where no listing finds it; quarantined ones stay, for they wait for someone.
WITH done AS (
    SELECT m.manifest_id FROM lake.manifests m
    WHERE m.dataset = :dataset AND m.state = 'COMMITTED' AND m.committed_at + :keep::interval <= clock_timestamp()
        AND NOT EXISTS (
            SELECT FROM lake.live_files f
            WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
                AND f.status NOT IN ('SUPERSEDED', 'QUARANTINED')
                AND (f.status <> 'SUCCEEDED' OR f.archived_key IS NULL OR starts_with(f.archived_key, 'quarantine/'))
        )
        AND NOT EXISTS (
            SELECT FROM lake.settled_files s
            WHERE s.dataset = m.dataset AND s.manifest_id = m.manifest_id AND s.archived_key IS NULL
        )
        AND (m.settled_files > 0 OR EXISTS (
            SELECT FROM lake.live_files f
            WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id AND f.status IN ('SUCCEEDED', 'SUPERSEDED')
        ))
    ORDER BY m.committed_at LIMIT :most
), pruned AS (
    DELETE FROM lake.live_files f USING done
    WHERE f.dataset = :dataset AND f.manifest_id = done.manifest_id AND f.status IN ('SUCCEEDED', 'SUPERSEDED')
    RETURNING f.id
), pruned_settled AS (
    DELETE FROM lake.settled_files s USING done
    WHERE s.dataset = :dataset AND s.manifest_id = done.manifest_id
    RETURNING s.id
), counted AS (
    UPDATE lake.manifests m SET settled_files = 0, settled_bytes = 0
    FROM done WHERE m.dataset = :dataset AND m.manifest_id = done.manifest_id AND m.settled_files > 0
)
SELECT (SELECT count(*) FROM pruned) + (SELECT count(*) FROM pruned_settled);

-- name: prune_superseded(dataset, keep, most)!
-- Forget versions that were done with so long ago before a manifest took them, where of their keys nothing else is known.
-- Beside a newer one they stay: should that be deleted from a versioned bucket, they lie there again and are not new.
WITH done AS (
    SELECT f.id FROM lake.live_files f
    WHERE f.dataset = :dataset AND f.status = 'SUPERSEDED' AND f.manifest_id IS NULL
        AND greatest(f.discovered_at, f.processed_at) + :keep::interval <= clock_timestamp()
        AND NOT EXISTS (
            SELECT FROM lake.live_files other
            WHERE other.dataset = f.dataset AND other.s3_key = f.s3_key AND (
                other.status <> 'SUPERSEDED' OR other.manifest_id IS NOT NULL
                OR greatest(other.discovered_at, other.processed_at) + :keep::interval > clock_timestamp()
            )
            OFFSET 0 -- each is looked up
        )
        AND NOT EXISTS (
            SELECT FROM lake.settled_files other WHERE other.dataset = f.dataset AND other.s3_key = f.s3_key OFFSET 0
        )
    LIMIT :most
)
DELETE FROM lake.live_files f USING done WHERE f.id = done.id;

-- name: live_bytes()$
-- Of the table of live files and its indexes.
SELECT pg_total_relation_size('lake.live_files');

-- name: live_rows_at_last_vacuum()$
-- Negative where there was none.
SELECT reltuples::bigint FROM pg_class WHERE oid = 'lake.live_files'::regclass;

-- name: live_rows(most)$
-- How many there are, as far as that goes.
SELECT count(*) FROM (SELECT id FROM lake.live_files ORDER BY id LIMIT :most) found;

-- name: wait_briefly#
-- Whoever comes later waits behind who waits for a table.
SET lock_timeout = '2s';

-- name: rewrite_live_files#
-- The file system gets back what is empty. Without the right to it, Postgres warns and does nothing.
VACUUM (FULL, ANALYZE) lake.live_files;

-- name: wait_as_usual#
-- The connection is another's next.
RESET lock_timeout;

-- ---------------------------------------------------------------- requeue

-- name: create_requeued#
-- Where the files to do again are collected. `holder` has the rows of an older version of a quarantined one.
CREATE TEMP TABLE requeued (id bigint, manifest_id text COLLATE "C", holder text COLLATE "C") ON COMMIT DROP;

-- name: select_requeued(dataset, keys, status, error_class, manifest_id, landing_group, partition)!
-- The files meant, with the manifest that must be replayed for them: a quarantined file has no rows to replace.
INSERT INTO requeued
SELECT f.id, CASE WHEN f.status <> 'QUARANTINED' THEN f.manifest_id END, CASE WHEN f.status = 'QUARANTINED' THEN (
    SELECT older.manifest_id FROM lake.file_processing_status older
    JOIN lake.manifests m ON m.dataset = older.dataset AND m.manifest_id = older.manifest_id
    WHERE older.dataset = f.dataset AND older.s3_key = f.s3_key AND older.id < f.id AND m.committed_at IS NOT NULL
        AND older.status IN ('PENDING', 'PROCESSING', 'SUCCEEDED', 'FAILED')
    ORDER BY older.id DESC LIMIT 1
) END
FROM lake.file_processing_status f
WHERE f.dataset = :dataset AND f.status <> 'SUPERSEDED'
    -- Of a file of which every record was erased there is nothing to do again.
    AND f.archived_size IS DISTINCT FROM 0
    AND (:keys::text[] IS NULL OR f.s3_key = ANY (:keys))
    AND (:status::text IS NULL OR f.status = :status)
    AND (:error_class::text IS NULL OR f.error_class = :error_class)
    AND (:manifest_id::text IS NULL OR f.manifest_id = :manifest_id)
    AND (:landing_group::text IS NULL OR f.landing_group = :landing_group)
    AND (:partition::text IS NULL OR f.manifest_id IN (
        SELECT o.manifest_id FROM lake.outputs o
        WHERE o.dataset = :dataset AND o.committed AND strpos('/' || o.path, :partition) > 0
    ));

-- name: running_of_requeued(dataset)$
-- A manifest of them that someone is working on.
SELECT manifest_id FROM lake.manifests
WHERE dataset = :dataset AND state = 'RUNNING'
    AND manifest_id IN (SELECT manifest_id FROM requeued UNION SELECT holder FROM requeued)
ORDER BY manifest_id LIMIT 1;

-- name: requeued_manifests()
-- The manifests whose rows are made again.
SELECT manifest_id FROM requeued WHERE manifest_id IS NOT NULL
UNION SELECT holder FROM requeued WHERE holder IS NOT NULL ORDER BY 1;

-- name: requeued_files(dataset)$
-- How many files the two statements below send back.
SELECT count(*) FROM lake.file_processing_status f
WHERE f.dataset = :dataset AND (
    f.manifest_id IN (SELECT manifest_id FROM requeued) AND f.status IN ('SUCCEEDED', 'FAILED')
    OR f.id IN (SELECT id FROM requeued WHERE manifest_id IS NULL) AND f.status IN ('QUARANTINED', 'FAILED')
);

-- name: requeued_outputs(dataset, manifest_ids)^
-- The curated files that the next commits of these manifests replace.
SELECT count(*), coalesce(sum(rows), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM lake.outputs
WHERE dataset = :dataset AND manifest_id = ANY (:manifest_ids) AND committed;

-- name: requeued_loose(dataset)
-- record_class: ManifestFile
-- Those of the files that have no rows in the lake.
SELECT f.id, f.s3_key AS key, f.etag, f.size, coalesce(f.archived_key, f.s3_key) AS location
FROM lake.live_files f JOIN requeued r ON r.id = f.id
WHERE f.dataset = :dataset AND r.manifest_id IS NULL AND f.status IN ('QUARANTINED', 'FAILED') ORDER BY f.s3_key;

-- name: replan_requeued(dataset)!
-- Their manifests are planned again; attempts go on counting, failures start over.
UPDATE lake.manifests
SET state = 'PLANNED', replay = true, failures = 0, worker = NULL, lease_expires_at = NULL, error_message = NULL,
    planned_at = now()
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM requeued);

-- name: requeue_members(dataset)!
-- Every file of those manifests waits for the replay; claimed ones do so already.
UPDATE lake.live_files
SET status = 'PENDING', retry_count = 0, error_class = NULL, error_message = NULL
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM requeued)
    AND status IN ('SUCCEEDED', 'FAILED') AND archived_size IS DISTINCT FROM 0;

-- name: requeue_loose(dataset)
-- Files that have no rows in the lake are claimable again; their keys.
UPDATE lake.live_files
SET status = 'PENDING', manifest_id = NULL, retry_count = 0, error_class = NULL, error_message = NULL, rows_read = NULL,
    rows_written = NULL, rows_rescued = NULL, rows_quarantined = NULL, rows_dropped = NULL, rows_exploded = NULL,
    rows_erased = NULL, processed_at = NULL
WHERE dataset = :dataset AND id IN (SELECT id FROM requeued WHERE manifest_id IS NULL)
    AND status IN ('QUARANTINED', 'FAILED')
RETURNING s3_key;

-- ---------------------------------------------------------------- erasures

-- name: add_erasure(dataset, predicate, sha256, raw, requested_by)$
-- Record a request, which concerns every file that is known by now: ids only rise.
INSERT INTO lake.erasures (dataset, predicate, predicate_sha256, raw, requested_by, last_file_id)
VALUES (:dataset, :predicate, :sha256, :raw, :requested_by,
    nextval(pg_get_serial_sequence('lake.live_files', 'id')))
RETURNING id;

-- name: erasures(dataset)
-- record_class: ErasureRow
-- Every request, oldest first.
SELECT id, dataset, predicate, predicate_sha256, raw, requested_by, last_file_id, begun_at, ended_at, rows_erased,
    report_key, report_sha256
FROM lake.erasures WHERE dataset = :dataset ORDER BY id;

-- name: newest_erasure(dataset)$
-- The last request; 0 before the first.
SELECT coalesce(max(id), 0) FROM lake.erasures WHERE dataset = :dataset;

-- name: end_erasure(id, rows_erased, report_key, sha256)!
-- It is done, and its report was signed off.
UPDATE lake.erasures
SET ended_at = clock_timestamp(), rows_erased = :rows_erased, report_key = :report_key, report_sha256 = :sha256
WHERE id = :id AND ended_at IS NULL;

-- name: erasure_steps(id)
-- record_class: ErasureStep
-- What it rewrote, in order.
SELECT manifest_id, attempt, outputs, files, raw, done_at FROM lake.erasure_steps WHERE erasure_id = :id ORDER BY id;

-- name: add_erasure_step(id, manifest_id, attempt, outputs, files, raw)!
-- What it rewrote of one manifest.
INSERT INTO lake.erasure_steps (erasure_id, manifest_id, attempt, outputs, files, raw)
VALUES (:id, :manifest_id, :attempt, :outputs, :files, :raw);

-- name: has_erasure_step(id, manifest_id, attempt)$
-- Whether that was committed before.
SELECT EXISTS (
    SELECT FROM lake.erasure_steps
    WHERE erasure_id = :id AND manifest_id = :manifest_id AND attempt = :attempt
);

-- name: hold_manifest(dataset, manifest_id, worker, lease)$
-- Give a manifest that no one converts to who erases rows of it. Nobody is told of that as of an attempt.
UPDATE lake.manifests
SET held_state = state, state = 'RUNNING', attempt = attempt + 1, worker = :worker,
    lease_expires_at = clock_timestamp() + :lease::interval,
    told_attempt = CASE WHEN told_attempt = attempt THEN attempt + 1 ELSE told_attempt END
WHERE dataset = :dataset AND manifest_id = :manifest_id AND state <> 'RUNNING'
RETURNING attempt;

-- name: let_go_manifest(dataset, manifest_id, changes)!
-- It is again in the state that it had.
UPDATE lake.manifests SET state = held_state, held_state = NULL, lease_expires_at = NULL, changes = changes + :changes
WHERE dataset = :dataset AND manifest_id = :manifest_id AND held_state IS NOT NULL;

-- name: manifest_outputs(dataset, manifest_id)
-- record_class: OutputFile
-- The committed files of one manifest.
SELECT path, rows, bytes, file_id FROM lake.outputs
WHERE dataset = :dataset AND manifest_id = :manifest_id AND committed ORDER BY path;

-- name: manifests_with_outputs(dataset)
-- Manifests that have committed files.
SELECT DISTINCT manifest_id FROM lake.outputs WHERE dataset = :dataset AND committed ORDER BY manifest_id;

-- name: sources_after(dataset, manifest_id, last_file_id)
-- Keys whose rows in the manifest are of a version that landed later than an erasure concerns.
SELECT s3_key FROM (
    SELECT DISTINCT ON (s3_key) s3_key, id FROM lake.file_processing_status
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND rows_written IS NOT NULL AND status <> 'SUPERSEDED'
    ORDER BY s3_key, id DESC
) held
WHERE id > :last_file_id ORDER BY s3_key;

-- name: manifest_sources(dataset, manifest_id)
-- The raw file's key of each of a manifest's curated files that is one raw file's.
SELECT o.path, f.s3_key FROM lake.outputs o JOIN lake.file_processing_status f USING (dataset, manifest_id)
WHERE o.dataset = :dataset AND o.manifest_id = :manifest_id AND o.committed AND f.id = o.file_id;

-- name: lock_sweep(dataset)$
-- One process at a time deletes what raw files were before records were erased; ends with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('lake.sweep.' || :dataset, 0));

-- name: retire_erased(dataset, manifest_id, paths)!
-- These files count no more.
UPDATE lake.outputs SET committed = false
WHERE dataset = :dataset AND manifest_id = :manifest_id AND path = ANY (:paths::text[]) AND committed;

-- name: count_erased(dataset, manifest_id, keys, rows)!
-- Rows that were written are erased now, of the version whose rows the manifest has.
UPDATE lake.live_files f
SET rows_written = f.rows_written - held.rows, rows_erased = coalesce(f.rows_erased, 0) + held.rows
FROM (
    SELECT DISTINCT ON (f.s3_key) f.id, e.rows FROM unnest(:keys::text[], :rows::bigint[]) AS e (s3_key, rows)
    JOIN lake.live_files f ON f.dataset = :dataset AND f.s3_key = e.s3_key
    WHERE f.manifest_id = :manifest_id AND f.rows_written IS NOT NULL AND f.status <> 'SUPERSEDED'
    ORDER BY f.s3_key, f.id DESC
) held
WHERE f.id = held.id;

-- name: raw_files_to_search(dataset, last_file_id)
-- record_class: RawFileToSearch
-- Files that may hold raw records of erased rows: with rows that were erased or dropped, and superseded versions.
SELECT id, s3_key AS key, coalesce(archived_size, size) AS size, 
    CASE WHEN status = 'SUPERSEDED' THEN '' ELSE coalesce(manifest_id, '') END AS manifest_id, status, archived_key,
    coalesce(rows_written, 0) AS rows_written
FROM lake.file_processing_status f
WHERE dataset = :dataset AND id <= :last_file_id AND archived_size IS DISTINCT FROM 0
    AND (
        status NOT IN ('QUARANTINED', 'SUPERSEDED') AND (rows_erased > 0 OR rows_dropped > 0)
        OR status = 'SUPERSEDED' AND archived_key IS NOT NULL AND NOT starts_with(archived_key, 'quarantine/')
    )
    -- One that was never archived and has a newer version lies nowhere any more.
    AND (archived_key IS NOT NULL OR NOT EXISTS (
        SELECT FROM lake.file_processing_status newer
        WHERE newer.dataset = :dataset AND newer.s3_key = f.s3_key AND newer.id > f.id
    ))
ORDER BY manifest_id, s3_key, id;

-- name: not_archived(dataset, keys)
-- Those of these keys of which the ledger has no archived version, nor a newer one in its place.
SELECT k.s3_key FROM unnest(:keys::text[]) AS k (s3_key)
WHERE NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = k.s3_key AND (
        f.archived_key IS NOT NULL OR f.rows_written IS NULL
    )
);

-- name: replace_raw(dataset, ids, before, after, etags, sizes)!
-- Archived files from which records were erased; one of which none is left is not converted again.
UPDATE lake.live_files f
SET archived_key = r.after, archived_etag = r.etag, archived_size = r.size,
    status = CASE WHEN r.size = 0 AND f.status IN ('PENDING', 'FAILED') THEN 'SUCCEEDED' ELSE f.status END
FROM unnest(:ids::bigint[], :before::text[], :after::text[], :etags::text[], :sizes::bigint[])
    AS r (id, before, after, etag, size)
WHERE f.dataset = :dataset AND f.id = r.id AND f.archived_key = r.before;

-- name: not_searched(dataset, last_file_id)^
-- What an erasure cannot look into: files and records in quarantine, and files whose rows are not in the table yet.
SELECT count(*) FILTER (WHERE status = 'QUARANTINED') AS quarantined_files,
    coalesce(sum(rows_quarantined) FILTER (WHERE status <> 'SUPERSEDED'), 0)::bigint AS quarantined_records,
    count(*) FILTER (WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') AND rows_written IS NULL) AS waiting_files
FROM lake.file_processing_status WHERE dataset = :dataset AND id <= :last_file_id;

-- ---------------------------------------------------------------- reading

-- name: backlog_summary(dataset)^
-- record_class: BacklogSummary
-- How much of a dataset is not yet converted, and since when.
SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes, min(discovered_at) AS oldest
FROM lake.live_files WHERE dataset = :dataset AND status IN ('PENDING', 'PROCESSING');

-- name: files(dataset, status, key)
-- The rows of raw files, by key and version.
SELECT id, dataset, s3_key, etag, size, last_modified, landing_group, status, manifest_id, glue_job_run_id, retry_count,
    error_class, error_message, discovered_at, claimed_at, processed_at, rows_read, rows_written, rows_rescued,
    rows_quarantined, rows_dropped, rows_exploded, rows_erased, archived_key
FROM lake.file_processing_status
WHERE dataset = :dataset AND (:status::text IS NULL OR status = :status) AND (:key::text IS NULL OR s3_key = :key)
ORDER BY s3_key, id;

-- name: file_metadata(dataset, status, key)
-- A record of what became of each raw file, by key and version.
SELECT file_id, source_path, output_paths, status, started_at, ended_at, record_count, file_size_bytes, error_message,
    created_at, updated_at
FROM lake.file_metadata
WHERE dataset = :dataset AND (:status::text IS NULL OR status = :status) AND (:key::text IS NULL OR source_path = :key)
ORDER BY source_path, file_id;

-- name: statuses_of(dataset, keys)
-- The state of the newest version of each key.
SELECT DISTINCT ON (s3_key) s3_key, status FROM lake.file_processing_status
WHERE dataset = :dataset AND s3_key = ANY (:keys) ORDER BY s3_key, id DESC;

-- name: waiting_files(dataset)
-- Files that the next runs convert, group by group as they would be planned.
SELECT id, s3_key AS key, coalesce(archived_etag, etag) AS etag, coalesce(archived_size, size) AS size,
    coalesce(archived_key, s3_key) AS location, landing_group
FROM lake.live_files
WHERE dataset = :dataset AND status = 'PENDING'
ORDER BY min(id) OVER (PARTITION BY landing_group), landing_group, id;

-- name: unknown_versions(dataset, keys, etags)
-- Those of the object versions that the ledger does not know, or was done with.
SELECT k.s3_key, k.etag FROM unnest(:keys::text[], :etags::text[]) AS k (s3_key, etag)
WHERE NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = k.s3_key AND f.etag = k.etag AND f.status <> 'SUPERSEDED'
    OFFSET 0 -- the same
);

-- name: set_aside(dataset, key, manifest_id)
-- Files that were quarantined whole, and files with records in quarantine.
SELECT s3_key AS key, coalesce(archived_etag, etag) AS etag, coalesce(archived_size, size) AS size,
    coalesce(archived_key, s3_key) AS location, status, manifest_id,
    coalesce(rows_quarantined, 0) AS rows_quarantined, error_class, error_message, processed_at
FROM lake.file_processing_status
WHERE dataset = :dataset AND (status = 'QUARANTINED' OR status = 'SUCCEEDED' AND rows_quarantined > 0)
    AND (:key::text IS NULL OR s3_key = :key) AND (:manifest_id::text IS NULL OR manifest_id = :manifest_id)
ORDER BY s3_key, id;

-- name: records_aside(dataset)
-- Manifests whose last commit set records aside, the document with them, and when that was.
SELECT manifest_id, quarantined_records, committed_at FROM lake.manifests
WHERE dataset = :dataset AND quarantined_records IS NOT NULL ORDER BY manifest_id;

-- name: manifests(dataset, manifest_id)
-- record_class: ManifestRow
-- The rows of manifests, in the order they were planned.
SELECT dataset, manifest_id, landing_group, state, attempt, failures, files, bytes, worker, lease_expires_at,
    engine_run_id, engine_attempt, schema_version, error_message, planned_at, started_at, committed_at, metrics,
    quarantined_records
FROM lake.manifests
WHERE dataset = :dataset AND (:manifest_id::text IS NULL OR manifest_id = :manifest_id)
ORDER BY planned_at, slug, sequence;

-- name: latest_manifests(dataset, most)
-- record_class: ManifestSummary
-- The manifests that changed last, the newest first.
SELECT manifest_id, state, attempt, files, coalesce((
    SELECT sum(o.rows) FROM lake.outputs o
    WHERE o.dataset = m.dataset AND o.manifest_id = m.manifest_id AND o.committed
), 0)::bigint AS rows, greatest(planned_at, started_at, committed_at) AS changed_at, error_message
FROM lake.manifests m
WHERE dataset = :dataset
ORDER BY changed_at DESC, slug DESC, sequence DESC LIMIT :most;

-- ---------------------------------------------------------------- schemas

-- name: add_schema_version(dataset, expected_version, columns, changes, manifest_id)!
-- The next version, if the expected one is still the newest.
INSERT INTO lake.schema_versions (dataset, version, columns, changes, manifest_id)
SELECT :dataset, :expected_version::int + 1, :columns, :changes, :manifest_id
WHERE :expected_version::int = (
    SELECT coalesce(max(version), 0) FROM lake.schema_versions WHERE dataset = :dataset
)
ON CONFLICT DO NOTHING;

-- name: schema(dataset)^
-- record_class: SchemaVersion
-- The newest version.
SELECT dataset, version, columns, changes, manifest_id, created_at
FROM lake.schema_versions WHERE dataset = :dataset ORDER BY version DESC LIMIT 1;

-- name: schema_history(dataset)
-- record_class: SchemaVersion
-- Every version, oldest first.
SELECT dataset, version, columns, changes, manifest_id, created_at
FROM lake.schema_versions WHERE dataset = :dataset ORDER BY version;

-- ---------------------------------------------------------------- circuits

-- name: circuit_is_closed(name)$
-- Whether a service may be called without asking further: it has never failed, or not often enough.
SELECT NOT EXISTS (SELECT FROM lake.circuits WHERE name = :name AND open_until IS NOT NULL);

-- name: add_circuit(name)!
-- A row to hold.
INSERT INTO lake.circuits (name) VALUES (:name) ON CONFLICT DO NOTHING;

-- name: lock_circuit(name)^
-- Hold a circuit's row until the transaction ends.
SELECT failures, open_until, last_error, clock_timestamp() FROM lake.circuits WHERE name = :name FOR UPDATE;

-- name: save_circuit(name, failures, open_until, last_error)!
-- The circuit's next state.
UPDATE lake.circuits SET failures = :failures, open_until = :open_until, last_error = :last_error, changed_at = now()
WHERE name = :name;

-- name: forget_circuit(name)!
-- The service has answered.
DELETE FROM lake.circuits WHERE name = :name;

-- name: open_circuits()
-- Services that are left alone, or about to be tried again.
SELECT name, failures, open_until, last_error FROM lake.circuits WHERE open_until IS NOT NULL ORDER BY name;

-- ---------------------------------------------------------------- identity

-- name: known_lake()^
-- The lake that this ledger is of, and whether its store says so too.
SELECT lake, stored FROM lake.identity;

-- name: make_lake(lake)!
-- The first who says so has said it.
INSERT INTO lake.identity (lake) VALUES (:lake) ON CONFLICT DO NOTHING;

-- name: lake_is_stored()!
-- The store says the same.
UPDATE lake.identity SET stored = true WHERE NOT stored;

-- name: adopt_lake(lake)!
-- Another one from now on.
INSERT INTO lake.identity (lake, stored) VALUES (:lake, true)
ON CONFLICT (one) DO UPDATE SET lake = excluded.lake, made_at = now(), stored = true
WHERE (identity.lake, identity.stored) IS DISTINCT FROM (excluded.lake, true);

-- name: has_manifests()$
-- Whether anything was ever planned.
SELECT EXISTS (SELECT FROM lake.manifests);

-- name: has_commits()$
-- Whether anything was ever committed.
SELECT EXISTS (SELECT FROM lake.manifests WHERE committed_at IS NOT NULL);

-- name: changes(dataset)$
-- Changes of what readers are to see.
SELECT coalesce(sum(changes), 0) FROM lake.manifests WHERE dataset = :dataset;

-- ---------------------------------------------------------------- recording

-- name: read_one_moment#
-- What the following statements see is of one moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: unrecorded_schemas(dataset)
-- record_class: SchemaVersion
-- Versions without a document, oldest first.
SELECT dataset, version, columns, changes, manifest_id, created_at
FROM lake.schema_versions WHERE dataset = :dataset AND NOT recorded ORDER BY version;

-- name: schema_recorded(dataset, version)!
-- The store has a document of it.
UPDATE lake.schema_versions SET recorded = true WHERE dataset = :dataset AND version = :version;

-- name: unrecorded_commits(dataset, manifest_id)
-- Committed manifests that changed since their document was written, read from the unrecorded_manifests index.
SELECT manifest_id, recorded_changes FROM lake.manifests
WHERE dataset = :dataset AND committed_at IS NOT NULL AND recorded_changes IS DISTINCT FROM changes
    AND (:manifest_id::text IS NULL OR manifest_id = :manifest_id)
ORDER BY committed_at, manifest_id;

-- name: recorded_manifest(dataset, manifest_id)^
-- What a document says of its manifest.
SELECT manifest_id, landing_group, slug, sequence, state, attempt, files, bytes, engine_run_id, schema_version,
    error_message, planned_at, started_at, committed_at, metrics, changes, quarantined_records, replay
FROM lake.manifests WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: recorded_files(dataset, manifest_id)
-- And of its files, every version of each.
SELECT id, s3_key, etag, size, last_modified, landing_group, status, glue_job_run_id, retry_count, error_class,
    error_message, discovered_at, claimed_at, processed_at, rows_read, rows_written, rows_rescued, rows_quarantined,
    rows_dropped, rows_exploded, rows_erased, archived_key, archived_etag, archived_size
FROM lake.file_processing_status WHERE dataset = :dataset AND manifest_id = :manifest_id ORDER BY id;

-- name: recorded_outputs(dataset, manifest_id)
-- And of its outputs.
SELECT path, attempt, rows, bytes, file_id, staged_path FROM lake.outputs
WHERE dataset = :dataset AND manifest_id = :manifest_id AND committed ORDER BY path;

-- name: commit_recorded(dataset, manifest_id, changes)!
-- The store has a document of so many changes.
UPDATE lake.manifests SET recorded_changes = greatest(recorded_changes, :changes::bigint)
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: lock_mark(dataset)$
-- One at a time raises a dataset's mark; ends with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('lake.mark.' || :dataset, 0));

-- name: unwritten_mark(dataset)^
-- The changes that documents tell of, where the mark in the store counts fewer.
SELECT found.changes, found.committed_at FROM (
    SELECT sum(recorded_changes)::bigint AS changes, max(committed_at) AS committed_at FROM lake.manifests
    WHERE dataset = :dataset AND recorded_changes IS NOT NULL
) found
WHERE found.changes > coalesce((SELECT m.changes FROM lake.marks m WHERE m.dataset = :dataset), 0);

-- name: save_mark(dataset, changes)!
-- The mark in the store counts so many.
INSERT INTO lake.marks (dataset, changes) VALUES (:dataset, :changes)
ON CONFLICT (dataset) DO UPDATE SET changes = excluded.changes;

-- name: forget_mark(dataset)!
-- There is none, or it is not to be relied on.
DELETE FROM lake.marks WHERE dataset = :dataset;

-- name: forget_recorded_commits(dataset)!
-- No document is to be relied on.
UPDATE lake.manifests SET recorded_changes = NULL WHERE dataset = :dataset AND recorded_changes IS NOT NULL;

-- name: forget_recorded_schemas(dataset)!
-- Nor of the schema.
UPDATE lake.schema_versions SET recorded = false WHERE dataset = :dataset AND recorded;

-- ---------------------------------------------------------------- rebuilding

-- name: knows_dataset(dataset)$
-- Whether there are rows of it.
SELECT EXISTS (SELECT FROM lake.manifests WHERE dataset = :dataset)
    OR EXISTS (SELECT FROM lake.file_processing_status WHERE dataset = :dataset);

-- name: leased_manifest(dataset)$
-- A manifest that a worker is converting.
SELECT manifest_id FROM lake.manifests
WHERE dataset = :dataset AND state = 'RUNNING' AND lease_expires_at >= clock_timestamp() ORDER BY manifest_id LIMIT 1;

-- name: create_rebuilt#
-- Where a dataset's rows are put together, beside what the store holds.
CREATE TEMP TABLE rebuilt_manifests ON COMMIT DROP AS SELECT * FROM lake.manifests WITH NO DATA;
CREATE TEMP TABLE rebuilt_files ON COMMIT DROP AS
    SELECT *, false AS located, false AS lost, 0::bigint AS new_id FROM lake.file_processing_status WITH NO DATA;
ALTER TABLE rebuilt_files ALTER located SET DEFAULT false, ALTER lost SET DEFAULT false;
CREATE TEMP TABLE rebuilt_planned ON COMMIT DROP AS SELECT * FROM lake.file_processing_status WITH NO DATA;
CREATE TEMP TABLE rebuilt_outputs ON COMMIT DROP AS SELECT *, ''::text AS fault FROM lake.outputs WITH NO DATA;
CREATE TEMP TABLE rebuilt_stored (
    key text COLLATE "C", size bigint, etag text COLLATE "C", last_modified timestamptz
) ON COMMIT DROP;
CREATE TEMP TABLE rebuilt_seen (manifest_id text COLLATE "C", attempt int) ON COMMIT DROP;
CREATE TEMP TABLE rebuilt_names (
    manifest_id text COLLATE "C", attempt int, path text COLLATE "C", bytes bigint, last_modified timestamptz
) ON COMMIT DROP;
CREATE TEMP TABLE rebuilt_candidates (
    new_id bigint, etag text COLLATE "C", rank int, key text COLLATE "C", size bigint, stored_etag text COLLATE "C"
) ON COMMIT DROP;

-- name: index_rebuilt#
-- Everything was copied in.
CREATE INDEX ON rebuilt_manifests (manifest_id);
CREATE INDEX ON rebuilt_files (s3_key, etag);
CREATE INDEX ON rebuilt_files (manifest_id);
CREATE INDEX ON rebuilt_outputs (path);
CREATE INDEX ON rebuilt_stored (key);
ANALYZE rebuilt_manifests;
ANALYZE rebuilt_files;
ANALYZE rebuilt_outputs;
ANALYZE rebuilt_stored;

-- name: settle_rebuilt_files()!
-- A version that several documents tell of is where it was last: it has left the other manifests.
DELETE FROM rebuilt_files f USING (
    SELECT ctid AS place, row_number() OVER (
        PARTITION BY s3_key, etag ORDER BY coalesce(processed_at, claimed_at, discovered_at) DESC, id DESC
    ) AS position FROM rebuilt_files
) found WHERE f.ctid = found.place AND found.position > 1;

-- name: add_planned_files()!
-- What only manifests without a commit document tell of.
INSERT INTO rebuilt_files (manifest_id, id, s3_key, etag, size, landing_group, archived_key, status, discovered_at,
    claimed_at, last_modified, retry_count, located, lost)
SELECT DISTINCT ON (p.s3_key, p.etag) p.manifest_id, p.id, p.s3_key, p.etag, p.size, p.landing_group, p.archived_key,
    'PROCESSING', now(), now(), coalesce(s.last_modified, now()), 0, false, false
FROM rebuilt_planned p
LEFT JOIN rebuilt_stored s ON s.key = coalesce(p.archived_key, p.s3_key)
WHERE NOT EXISTS (SELECT FROM rebuilt_files f WHERE f.s3_key = p.s3_key AND f.etag = p.etag)
ORDER BY p.s3_key, p.etag, p.manifest_id;

-- name: rebuilt_ids_collide(dataset)$
-- Whether the files' numbers, which they take along, are taken; if not, they keep them.
WITH kept AS (UPDATE rebuilt_files SET new_id = id)
SELECT EXISTS (SELECT FROM rebuilt_files GROUP BY id HAVING count(*) > 1) OR EXISTS (
    SELECT FROM rebuilt_files r JOIN lake.file_processing_status f ON f.id = r.id WHERE f.dataset <> :dataset
);

-- name: renumber_rebuilt#
-- New numbers in the order in which they were discovered, above all others; the documents tell of the old ones.
UPDATE rebuilt_files f SET new_id = numbered.new_id FROM (
    SELECT r.ctid AS place, row_number() OVER (ORDER BY r.discovered_at, r.id) + greatest(
        (SELECT max(id) FROM lake.file_processing_status), (SELECT max(id) FROM rebuilt_files)
    ) AS new_id FROM rebuilt_files r
) numbered WHERE f.ctid = numbered.place;
UPDATE rebuilt_outputs o SET file_id = f.new_id FROM rebuilt_files f
WHERE f.manifest_id = o.manifest_id AND f.id = o.file_id;
UPDATE rebuilt_manifests SET recorded_changes = NULL;

-- name: supersede_rebuilt()!
-- A file set aside of which a newer version was converted elsewhere; its own document knew nothing of that.
UPDATE rebuilt_files older SET status = 'SUPERSEDED'
WHERE older.status = 'QUARANTINED' AND EXISTS (
    SELECT FROM rebuilt_files newer WHERE newer.s3_key = older.s3_key AND newer.new_id > older.new_id
);

-- name: name_rebuilt_outputs(stem)!
-- Which manifest and attempt the names of curated files tell of.
INSERT INTO rebuilt_names
SELECT found.parts[1], found.parts[2]::int, found.key, found.size, found.last_modified
FROM (
    SELECT key, size, last_modified, regexp_match(key, '([^/]+)-a(\d{1,9})-\d+\.parquet$') AS parts FROM rebuilt_stored
    WHERE starts_with(key, :stem)
) found
WHERE found.parts IS NOT NULL;

-- name: list_candidates(source, archive, quarantine)!
-- Where each file may lie: the better guess first. One that records were erased from is only where its document says.
INSERT INTO rebuilt_candidates
SELECT f.new_id, e.etag, c.rank, s.key, s.size, s.etag AS stored_etag
FROM rebuilt_files f
CROSS JOIN LATERAL (
    SELECT coalesce(f.archived_etag, f.etag) AS etag, coalesce(f.archived_size, f.size) AS size,
        substr(f.s3_key, length(:source) + 1) AS relative
) e
CROSS JOIN LATERAL (VALUES
    (0, f.s3_key), (1, f.archived_key), (2, :archive::text || e.relative || '~' || f.etag), (3, :archive || e.relative),
    (4, :quarantine || e.relative || '~' || f.etag), (5, :quarantine || e.relative)
) AS c (rank, key)
JOIN rebuilt_stored s ON s.key = c.key AND s.size = e.size
WHERE f.archived_etag IS NULL OR c.rank = 1;

-- name: locate_by_etag()!
-- Copies keep the ETag, nearly always.
UPDATE rebuilt_files f SET located = true, archived_key = nullif(found.key, f.s3_key)
FROM (
    SELECT DISTINCT ON (new_id) new_id, key FROM rebuilt_candidates WHERE stored_etag = etag ORDER BY new_id, rank
) found WHERE f.new_id = found.new_id;

-- name: doubtful_candidates()
-- The others: of the same size, and it takes a closer look to say whether they are copies.
SELECT c.new_id, c.etag, c.key, c.size, c.stored_etag FROM rebuilt_candidates c
JOIN rebuilt_files f USING (new_id) WHERE NOT f.located AND c.rank > 0 ORDER BY c.new_id, c.rank DESC;

-- name: locate_files(ids, keys)!
-- They are.
UPDATE rebuilt_files f SET located = true, archived_key = found.key
FROM unnest(:ids::bigint[], :keys::text[]) AS found (id, key) WHERE f.new_id = found.id;

-- name: locate_mended(source, quarantine)!
-- What lies in quarantine under a file's name is that file, mended.
UPDATE rebuilt_files f SET located = true, archived_key = s.key
FROM rebuilt_stored s
WHERE NOT f.located AND f.status = 'QUARANTINED' AND s.key = :quarantine || substr(f.s3_key, length(:source) + 1);

-- name: name_lost(source, archive, quarantine, moves)!
-- Files that were converted, or set aside, and are nowhere: those that move were moved, and deleted from there.
UPDATE rebuilt_files f
SET lost = true, archived_key = coalesce(archived_key, CASE WHEN :moves::boolean THEN
        CASE WHEN status = 'QUARANTINED' THEN :quarantine ELSE :archive::text END || substr(s3_key, length(:source) + 1)
    END)
WHERE NOT located AND status IN ('SUCCEEDED', 'QUARANTINED');

-- name: rebuilt_staged()
-- Staged content that names were still to get when the document was written.
SELECT staged_path FROM rebuilt_outputs WHERE staged_path IS NOT NULL;

-- name: release_rebuilt(paths)!
-- Staging is cleared after the names have their content.
UPDATE rebuilt_outputs SET staged_path = NULL WHERE staged_path = ANY (:paths::text[]);

-- name: fault_sizes()!
-- Outputs that the store does not hold as they were written.
UPDATE rebuilt_outputs o SET fault = CASE WHEN found.size IS NULL THEN 'missing' ELSE 'differs' END
FROM (
    SELECT r.path, s.size FROM rebuilt_outputs r LEFT JOIN rebuilt_stored s ON s.key = r.path
    WHERE r.staged_path IS NULL AND s.size IS DISTINCT FROM r.bytes
) found WHERE o.path = found.path;

-- name: intact_outputs()
-- Parquet files whose footers are to be asked.
SELECT path, rows FROM rebuilt_outputs
WHERE fault IS NULL AND staged_path IS NULL AND right(path, 8) = '.parquet' ORDER BY path;

-- name: fault_outputs(paths)!
-- Footers that tell of other rows, or that cannot be read.
UPDATE rebuilt_outputs SET fault = 'differs' WHERE path = ANY (:paths::text[]);

-- name: replan_faulty_manifests()!
-- To be converted again, from where the raw files lie now.
UPDATE rebuilt_manifests
SET state = 'PLANNED', replay = true, planned_at = now(), changes = changes + 1, recorded_changes = NULL
WHERE manifest_id IN (SELECT manifest_id FROM rebuilt_outputs WHERE fault IS NOT NULL);

-- name: replan_faulty_files()!
-- And their files with them.
UPDATE rebuilt_files SET status = 'PENDING', retry_count = 0, error_class = NULL, error_message = NULL
WHERE status = 'SUCCEEDED' AND manifest_id IN (SELECT manifest_id FROM rebuilt_outputs WHERE fault IS NOT NULL);

-- name: unfound_plans()
-- Manifests without a commit document of which a raw file was not found.
SELECT DISTINCT m.manifest_id FROM rebuilt_manifests m JOIN rebuilt_files f USING (manifest_id)
WHERE m.committed_at IS NULL AND NOT f.located ORDER BY m.manifest_id;

-- name: named_outputs(manifest_id)
-- What lies under names of the manifest.
SELECT attempt, path, bytes FROM rebuilt_names WHERE manifest_id = :manifest_id ORDER BY attempt, path;

-- name: commit_found_manifest(manifest_id, attempt)!
-- Its outputs are all that there is of it.
UPDATE rebuilt_manifests m SET state = 'COMMITTED', attempt = :attempt, changes = greatest(m.changes, 1), committed_at = (
    SELECT max(n.last_modified) FROM rebuilt_names n WHERE n.manifest_id = m.manifest_id AND n.attempt = :attempt
) WHERE m.manifest_id = :manifest_id;

-- name: commit_found_files(manifest_id, keys, rows)!
-- Its files with rows in them succeeded; of those without it is known by where they lie.
UPDATE rebuilt_files f
SET rows_written = coalesce(found.rows, 0),
    status = CASE WHEN found.rows IS NULL AND starts_with(f.archived_key, 'quarantine/') THEN 'QUARANTINED'
        ELSE 'SUCCEEDED' END
FROM (
    SELECT r.new_id, u.rows FROM rebuilt_files r
    LEFT JOIN unnest(:keys::text[], :rows::bigint[]) AS u (key, rows) ON u.key = r.s3_key
    WHERE r.manifest_id = :manifest_id
) found WHERE f.new_id = found.new_id;

-- name: drop_unfound_files(manifest_id)!
-- Files that are nowhere cannot be converted.
WITH dropped AS (
    DELETE FROM rebuilt_files WHERE manifest_id = :manifest_id AND NOT located AND coalesce(rows_written, 0) = 0
    RETURNING s3_key
)
INSERT INTO rebuilt_planned (manifest_id, s3_key, status) SELECT :manifest_id, s3_key, 'FAILED' FROM dropped;

-- name: drop_empty_manifest(manifest_id)!
-- Nothing is left to be done of it.
DELETE FROM rebuilt_manifests m WHERE m.manifest_id = :manifest_id
    AND NOT EXISTS (SELECT FROM rebuilt_files f WHERE f.manifest_id = m.manifest_id);

-- name: add_rebuilt_leftovers()!
-- What no commit lists, of manifests that are whole or can be converted anew from all of their files.
INSERT INTO rebuilt_outputs (manifest_id, path, attempt, rows, bytes, committed)
SELECT n.manifest_id, n.path, n.attempt, 0, n.bytes, false FROM rebuilt_names n
JOIN rebuilt_manifests m USING (manifest_id)
WHERE NOT EXISTS (SELECT FROM rebuilt_outputs o WHERE o.path = n.path)
    AND NOT EXISTS (SELECT FROM rebuilt_outputs o WHERE o.manifest_id = n.manifest_id AND o.fault IS NOT NULL)
    AND NOT EXISTS (SELECT FROM rebuilt_planned p WHERE p.manifest_id = n.manifest_id AND p.status = 'FAILED');

-- name: raise_attempts()!
-- An attempt's number is not given again where it has left something.
UPDATE rebuilt_manifests m SET attempt = greatest(m.attempt, seen.attempt) FROM (
    SELECT manifest_id, max(attempt) AS attempt
    FROM (SELECT manifest_id, attempt FROM rebuilt_names UNION ALL SELECT manifest_id, attempt FROM rebuilt_seen) found
    GROUP BY manifest_id
) seen WHERE m.manifest_id = seen.manifest_id;

-- name: rebuilt_totals()^
-- What there is of everything.
SELECT (SELECT count(*) FROM rebuilt_manifests),
    (SELECT count(*) FROM rebuilt_manifests WHERE state <> 'COMMITTED'),
    (SELECT count(*) FROM rebuilt_files),
    (SELECT count(*) FROM rebuilt_outputs WHERE committed IS NOT false AND fault IS NULL),
    (SELECT coalesce(sum(rows), 0)::bigint FROM rebuilt_outputs WHERE committed IS NOT false AND fault IS NULL);

-- name: found_output_missing(most)
-- Outputs of a commit that are not there.
SELECT count(*) OVER (), path FROM rebuilt_outputs WHERE fault = 'missing' ORDER BY path LIMIT :most;

-- name: found_output_differs(most)
-- Outputs that are not what was committed.
SELECT count(*) OVER (), path FROM rebuilt_outputs WHERE fault = 'differs' ORDER BY path LIMIT :most;

-- name: found_raw_missing(most)
-- Raw files that are nowhere.
SELECT count(*) OVER (), s3_key FROM (
    SELECT s3_key FROM rebuilt_files WHERE lost UNION ALL SELECT s3_key FROM rebuilt_planned WHERE status = 'FAILED'
) lost ORDER BY s3_key LIMIT :most;

-- name: found_unaccounted(most, archive, quarantine)
-- Files in the archive and in quarantine that no document tells of.
SELECT count(*) OVER (), s.key FROM rebuilt_stored s
WHERE (starts_with(s.key, :archive::text) OR starts_with(s.key, :quarantine))
    AND NOT EXISTS (SELECT FROM rebuilt_files f WHERE f.archived_key = s.key)
ORDER BY s.key LIMIT :most;

-- name: found_leftover(most)
-- Outputs that no commit lists.
SELECT count(*) OVER (), path FROM rebuilt_outputs WHERE committed IS false ORDER BY path LIMIT :most;

-- name: found_unresolved(most)
-- Outputs of manifests that nothing tells of, or that can be neither converted anew nor taken as they are.
SELECT count(*) OVER (), n.path FROM rebuilt_names n
LEFT JOIN rebuilt_manifests m USING (manifest_id)
WHERE m.manifest_id IS NULL OR m.committed_at IS NULL
    AND EXISTS (SELECT FROM rebuilt_planned p WHERE p.manifest_id = n.manifest_id AND p.status = 'FAILED')
ORDER BY n.path LIMIT :most;

-- name: clear_outputs(dataset)!
-- All that the ledger has of a dataset goes.
DELETE FROM lake.outputs WHERE dataset = :dataset;

-- name: clear_manifests(dataset)!
-- The same.
DELETE FROM lake.manifests WHERE dataset = :dataset;

-- name: clear_files(dataset)!
-- The same.
DELETE FROM lake.live_files WHERE dataset = :dataset;

-- name: clear_settled(dataset)!
-- The same.
DELETE FROM lake.settled_files WHERE dataset = :dataset;

-- name: clear_schemas(dataset)!
-- The same.
DELETE FROM lake.schema_versions WHERE dataset = :dataset;

-- name: clear_report(dataset)!
-- The same.
DELETE FROM lake.report_cursors WHERE dataset = :dataset;

-- name: insert_rebuilt_manifests(dataset)!
-- Nothing is told of them anew but what is planned.
INSERT INTO lake.manifests (dataset, manifest_id, landing_group, slug, sequence, state, attempt, files, bytes,
    engine_run_id, schema_version, error_message, planned_at, started_at, committed_at, metrics, changes,
    recorded_changes, quarantined_records, replay, told_attempt, told_planned_at)
SELECT :dataset, m.manifest_id, m.landing_group, m.slug, m.sequence, m.state, m.attempt,
    coalesce(m.files, held.files), coalesce(m.bytes, held.bytes), m.engine_run_id, m.schema_version, m.error_message,
    coalesce(m.planned_at, now()), m.started_at, m.committed_at, m.metrics, m.changes, m.recorded_changes,
    m.quarantined_records, coalesce(m.replay, false), CASE WHEN m.state = 'COMMITTED' THEN m.attempt END,
    CASE WHEN m.state = 'COMMITTED' THEN coalesce(m.planned_at, now()) END
FROM rebuilt_manifests m
CROSS JOIN LATERAL (
    SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM rebuilt_files f
    WHERE f.manifest_id = m.manifest_id
) held;

-- name: insert_rebuilt_files(dataset)!
-- Where they were found.
INSERT INTO lake.live_files (dataset, id, s3_key, etag, size, last_modified, landing_group, status,
    manifest_id, glue_job_run_id, retry_count, error_class, error_message, discovered_at, claimed_at, processed_at,
    rows_read, rows_written, rows_rescued, rows_quarantined, rows_dropped, rows_exploded, rows_erased, archived_key,
    archived_etag, archived_size)
SELECT :dataset, new_id, s3_key, etag, size, last_modified, landing_group, status, manifest_id, glue_job_run_id,
    retry_count, error_class, error_message, discovered_at, claimed_at, processed_at, rows_read, rows_written,
    rows_rescued, rows_quarantined, rows_dropped, rows_exploded, rows_erased, archived_key, archived_etag, archived_size
FROM rebuilt_files ORDER BY new_id;

-- name: insert_rebuilt_outputs(dataset)!
-- Without those at fault, which readers would stumble over.
INSERT INTO lake.outputs (dataset, path, manifest_id, attempt, rows, bytes, committed, file_id, staged_path)
SELECT :dataset, path, manifest_id, attempt, rows, bytes, coalesce(committed, true), file_id, staged_path
FROM rebuilt_outputs WHERE fault IS NULL ORDER BY path;

-- name: insert_rebuilt_schema(dataset, version, columns, changes, manifest_id, created_at)!
-- As its document says.
INSERT INTO lake.schema_versions (dataset, version, columns, changes, manifest_id, created_at, recorded)
VALUES (:dataset, :version, :columns, :changes, :manifest_id, :created_at, true);

-- name: restore_erasure(erasure)!
-- A request that the ledger does not know, under its own number where that is free.
INSERT INTO lake.erasures (id, dataset, predicate, predicate_sha256, raw, requested_by, last_file_id, begun_at, ended_at,
    rows_erased, report_key, report_sha256)
SELECT CASE WHEN EXISTS (SELECT FROM lake.erasures taken WHERE taken.id = r.id)
        THEN nextval('lake.erasures_id_seq') ELSE r.id END,
    r.dataset, r.predicate, r.predicate_sha256, r.raw, r.requested_by, r.last_file_id, r.begun_at, r.ended_at,
    r.rows_erased, r.report_key, r.report_sha256
FROM jsonb_populate_record(null::lake.erasures, :erasure) r
WHERE NOT EXISTS (
    SELECT FROM lake.erasures known
    WHERE (known.dataset, known.predicate_sha256, known.begun_at) = (r.dataset, r.predicate_sha256, r.begun_at)
);

-- name: renumber_erasures(dataset)!
-- The last file that each concerns, by the numbers that files have now.
UPDATE lake.erasures e SET last_file_id = found.last
FROM (
    SELECT e.id, max(f.new_id) AS last FROM lake.erasures e JOIN rebuilt_files f ON f.id <= e.last_file_id GROUP BY e.id
) found WHERE e.id = found.id AND e.dataset = :dataset;

-- name: advance_erasure_ids()$
-- The next request gets a number above all of these: reports are named by them.
SELECT setval('lake.erasures_id_seq', found.last) FROM (SELECT max(id) AS last FROM lake.erasures) found
WHERE found.last >= (SELECT last_value FROM lake.erasures_id_seq);

-- name: advance_file_ids()$
-- The next file gets a number above all of these, and is concerned by no request that was made before it.
SELECT setval('lake.file_processing_status_id_seq', found.last) FROM (
    SELECT greatest(
        (SELECT max(id) FROM lake.file_processing_status), (SELECT max(last_file_id) FROM lake.erasures)
    ) AS last
) found WHERE found.last >= (SELECT last_value FROM lake.file_processing_status_id_seq);

-- ---------------------------------------------------------------- import

-- name: imported_is_told(dataset, manifest_id)!
-- Nothing was converted, so there is nothing to tell.
UPDATE lake.manifests SET told_attempt = attempt, told_planned_at = planned_at
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: settled_imported(dataset, keys)
-- The keys of those of the following that are settled.
SELECT s.s3_key FROM lake.settled_files s JOIN lake.manifests m USING (dataset, manifest_id)
WHERE s.dataset = :dataset AND s.s3_key = ANY (:keys::text[]) AND m.metrics @> '{"imported": true}';

-- name: supersede_imported(dataset, keys)!
-- A file that another system has converted has no rows here, so a new version takes its place without the files that it
-- was imported with. Their commit is written down anew.
WITH replaced AS (
    UPDATE lake.live_files f SET status = 'SUPERSEDED'
    FROM lake.manifests m
    WHERE f.dataset = :dataset AND f.s3_key = ANY (:keys::text[]) AND f.status = 'SUCCEEDED'
        AND m.dataset = f.dataset AND m.manifest_id = f.manifest_id AND m.state = 'COMMITTED'
        AND m.metrics @> '{"imported": true}'
        AND EXISTS (
            SELECT FROM lake.live_files newer
            WHERE newer.dataset = f.dataset AND newer.s3_key = f.s3_key AND newer.id > f.id
                AND newer.status = 'PENDING'
        )
    RETURNING f.manifest_id
)
UPDATE lake.manifests SET recorded_changes = NULL
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM replaced);

-- name: imported_files(dataset, last_file_id)$
-- Files that another system has converted, so that none of their rows is here.
SELECT count(*) FROM lake.file_processing_status f JOIN lake.manifests m USING (dataset, manifest_id)
WHERE f.dataset = :dataset AND f.id <= :last_file_id AND f.status <> 'SUPERSEDED' AND m.metrics @> '{"imported": true}';

-- ---------------------------------------------------------------- pauses

-- name: pause(datasets, paused_by, reason)!
-- Nothing of these is begun any more.
INSERT INTO lake.pauses (dataset, paused_by, reason) SELECT d, :paused_by, :reason FROM unnest(:datasets::text[]) AS d
ON CONFLICT DO NOTHING;

-- name: resume(datasets)!
-- Work of these may begin again.
DELETE FROM lake.pauses WHERE dataset = ANY (:datasets::text[]);

-- name: pauses()
-- record_class: Pause
-- What is paused.
SELECT dataset, since, paused_by, reason FROM lake.pauses ORDER BY dataset;

-- ---------------------------------------------------------------- invariants

-- name: invariant_violations(dataset)
-- record_class: InvariantViolation
-- What contradicts itself, by the names of invariants.py. A replay's files wait or are converted again while the rows of
-- the commit before are in the lake, so their manifests are not COMMITTED, and rows are compared only where they are.
WITH file AS (
    SELECT f.s3_key, f.etag, f.status, f.manifest_id, m.state, m.committed_at, m.worker, m.lease_expires_at
    FROM lake.file_processing_status f LEFT JOIN lake.manifests m USING (dataset, manifest_id)
    WHERE f.dataset = :dataset
), rows_of AS (
    SELECT m.manifest_id, file.written, file.remembered, coalesce((
        SELECT sum(o.rows) FROM lake.outputs o
        WHERE o.dataset = m.dataset AND o.manifest_id = m.manifest_id AND o.committed
    ), 0) AS listed
    FROM lake.manifests m
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(f.rows_written) FILTER (WHERE f.status = 'SUCCEEDED'), 0) AS written,
            count(*) FILTER (WHERE f.status <> 'QUARANTINED') > 0 AS remembered
        FROM lake.file_processing_status f WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
    ) file
    WHERE m.dataset = :dataset AND m.state = 'COMMITTED'
)
SELECT 'processing_without_attempt' AS invariant, s3_key AS subject, 'version ' || etag || ' is PROCESSING in '
    || coalesce(manifest_id || ', which is ' || coalesce(state, 'not there'), 'no manifest') AS detail
FROM file
WHERE status = 'PROCESSING'
    AND (state = 'PLANNED' OR state = 'RUNNING' AND worker <> '' AND lease_expires_at IS NOT NULL) IS NOT TRUE
UNION ALL
SELECT 'stranded_file', s3_key,
    'version ' || etag || ' is ' || status || ' in ' || manifest_id || ', which is ' || coalesce(state, 'not there')
FROM file WHERE status IN ('PENDING', 'FAILED') AND manifest_id IS NOT NULL AND coalesce(state, 'COMMITTED') = 'COMMITTED'
UNION ALL
SELECT 'attempt_without_holder', manifest_id, 'attempt ' || attempt || ' is RUNNING '
    || CASE WHEN coalesce(worker, '') = '' THEN 'by nobody' ELSE 'by ' || worker || ' without a lease' END
FROM lake.manifests
WHERE dataset = :dataset AND state = 'RUNNING' AND (coalesce(worker, '') = '' OR lease_expires_at IS NULL)
UNION ALL
SELECT 'lease_without_attempt', manifest_id,
    'it is ' || state || ', with a lease of ' || coalesce(worker, 'nobody') || ' until ' || lease_expires_at
FROM lake.manifests WHERE dataset = :dataset AND state <> 'RUNNING' AND lease_expires_at IS NOT NULL
UNION ALL
SELECT 'two_versions_succeeded', s3_key, 'versions ' || string_agg(etag, ', ' ORDER BY etag) || ' are SUCCEEDED'
FROM file WHERE status = 'SUCCEEDED' GROUP BY s3_key HAVING count(*) > 1
UNION ALL
SELECT 'version_twice', s3_key, 'version ' || etag || ' has ' || count(*) || ' rows'
FROM file GROUP BY s3_key, etag HAVING count(*) > 1
UNION ALL
SELECT 'settled_miscounted', coalesce(m.manifest_id, s.manifest_id),
    'it counts ' || coalesce(m.settled_files || ' settled files of ' || m.settled_bytes, 'no settled files of no')
    || ' bytes, and has ' || coalesce(s.files, 0) || ' of ' || coalesce(s.bytes, 0)
FROM (SELECT manifest_id, settled_files, settled_bytes FROM lake.manifests WHERE dataset = :dataset) m
FULL JOIN (
    SELECT manifest_id, count(*) AS files, sum(size) AS bytes FROM lake.settled_files WHERE dataset = :dataset
    GROUP BY manifest_id
) s USING (manifest_id)
WHERE (coalesce(m.settled_files, 0), coalesce(m.settled_bytes, 0)) <> (coalesce(s.files, 0), coalesce(s.bytes, 0))
UNION ALL
SELECT 'succeeded_without_commit', s3_key, 'version ' || etag || ' is SUCCEEDED in '
    || coalesce(manifest_id || ', which ' || CASE WHEN state IS NULL THEN 'is not there' ELSE 'was never committed' END,
        'no manifest')
FROM file WHERE status = 'SUCCEEDED' AND committed_at IS NULL
UNION ALL
SELECT 'output_without_commit', m.manifest_id, o.path || ' is committed, and the manifest never was'
FROM lake.outputs o JOIN lake.manifests m USING (dataset, manifest_id)
WHERE o.dataset = :dataset AND o.committed AND m.committed_at IS NULL
UNION ALL
-- Where the records of its files were pruned, nothing is left to compare with.
SELECT 'rows_differ', manifest_id, 'its files have ' || written || ' rows, its outputs ' || listed
FROM rows_of WHERE written <> listed AND remembered
ORDER BY invariant, subject, detail;

-- ---------------------------------------------------------------- audit

-- name: known_versions(dataset, keys)
-- record_class: KnownVersion
-- Every version of a raw file, of all keys or of these, by key; each key's current version, which is the newest one that
-- was not superseded, comes first.
SELECT id, s3_key AS key, etag, size, status, manifest_id, archived_key, row_number() OVER newest = 1 AS is_current
FROM lake.file_processing_status
WHERE dataset = :dataset AND (:keys::text[] IS NULL OR s3_key = ANY (:keys))
WINDOW newest AS (PARTITION BY s3_key ORDER BY status = 'SUPERSEDED', id DESC)
ORDER BY s3_key, is_current DESC;

-- name: versions_by_place(dataset)
-- record_class: KnownVersion
-- The same of those that were moved, by where they lie.
SELECT id, key, etag, size, status, manifest_id, archived_key, is_current
FROM (
    SELECT id, s3_key AS key, coalesce(archived_etag, etag) AS etag, coalesce(archived_size, size) AS size, status,
        manifest_id, archived_key, row_number() OVER newest = 1 AS is_current
    FROM lake.file_processing_status WHERE dataset = :dataset
    WINDOW newest AS (PARTITION BY s3_key ORDER BY status = 'SUPERSEDED', id DESC)
) version
WHERE archived_key IS NOT NULL
ORDER BY archived_key, is_current DESC, id DESC;

-- name: known_outputs(dataset, paths)
-- record_class: KnownOutput
-- Curated files, all or these, committed or not, by path.
SELECT path, manifest_id, attempt, rows, bytes, committed, staged_path FROM lake.outputs
WHERE dataset = :dataset AND (:paths::text[] IS NULL OR path = ANY (:paths)) ORDER BY path;

-- name: manifests_of(dataset, manifest_ids)
-- record_class: ManifestRow
-- The rows of these manifests.
SELECT dataset, manifest_id, landing_group, state, attempt, failures, files, bytes, worker, lease_expires_at,
    engine_run_id, engine_attempt, schema_version, error_message, planned_at, started_at, committed_at, metrics,
    quarantined_records
FROM lake.manifests WHERE dataset = :dataset AND manifest_id = ANY (:manifest_ids);

-- name: manifests_with_rows(dataset)
-- Manifests that have rows in the lake, with what differs after each attempt.
SELECT manifest_id, attempt FROM lake.manifests
WHERE dataset = :dataset AND committed_at IS NOT NULL AND state <> 'RUNNING' ORDER BY manifest_id;

-- name: rows_by_file(dataset, manifest_id)
-- What the last commit of a manifest wrote of each key: of the newest version that it converted, for a newer one waits.
SELECT DISTINCT ON (s3_key) s3_key, rows_written FROM lake.file_processing_status
WHERE dataset = :dataset AND manifest_id = :manifest_id AND rows_written IS NOT NULL AND status <> 'QUARANTINED'
ORDER BY s3_key, id DESC;

-- name: rows_by_output(dataset, manifest_id)
-- A manifest's committed files, their rows, and the key of the one raw file that each is of, where it is of one.
SELECT o.path, o.rows, f.s3_key FROM lake.outputs o LEFT JOIN lake.file_processing_status f 
    ON f.dataset = o.dataset AND f.manifest_id = o.manifest_id AND f.id = o.file_id
WHERE o.dataset = :dataset AND o.manifest_id = :manifest_id AND o.committed ORDER BY o.path;

-- name: held_manifests(dataset)
-- Manifests that are being worked on, by whom, and whether that worker has stopped renewing its lease.
SELECT manifest_id, attempt, coalesce(worker, ''), coalesce(lease_expires_at < clock_timestamp(), false)
FROM lake.manifests
WHERE dataset = :dataset AND state <> 'COMMITTED' AND state = 'RUNNING' ORDER BY manifest_id;

-- ---------------------------------------------------------------- costs

-- name: record_cost(dataset, manifest_id, attempt, cost)!
-- What the committed attempt took, unless another has begun since.
UPDATE lake.manifests SET metrics = coalesce(metrics, '{}') || jsonb_build_object('cost', :cost::jsonb)
WHERE dataset = :dataset AND manifest_id = :manifest_id AND attempt = :attempt AND state = 'COMMITTED';

-- name: measured_costs(dataset, engine, since, most)^
-- What the last commits on an engine took, of a dataset or of all, since then or at all.
SELECT count(*) AS manifests, coalesce(sum(files), 0)::bigint AS files, coalesce(sum(bytes), 0)::bigint AS bytes,
    coalesce(sum(outputs), 0)::bigint AS outputs, coalesce(sum(output_bytes), 0)::bigint AS output_bytes,
    coalesce(sum(seconds), 0) AS seconds, coalesce(sum(dpu_seconds), 0) AS dpu_seconds,
    coalesce(sum(dollars), 0) AS dollars
FROM (
    SELECT c.* FROM lake.manifests m, jsonb_to_record(m.metrics -> 'cost') AS c (
        engine text, files bigint, bytes bigint, outputs bigint, output_bytes bigint,
        seconds double precision, dpu_seconds double precision, dollars double precision
    )
    WHERE m.state = 'COMMITTED' AND (:dataset::text IS NULL OR m.dataset = :dataset)
        AND (:engine::text IS NULL OR c.engine = :engine) AND (:since::timestamptz IS NULL OR m.committed_at >= :since)
    ORDER BY m.committed_at DESC LIMIT :most
) measured;

-- name: planned_work(dataset)^
-- Manifests that wait to be committed, whoever works on them.
SELECT count(*) AS manifests, coalesce(sum(files), 0)::bigint AS files, coalesce(sum(bytes), 0)::bigint AS bytes
FROM lake.manifests WHERE dataset = :dataset AND state <> 'COMMITTED';

-- name: save_estimate(dataset, engine, manifests, files, bytes, seconds, dpu_seconds, dollars)!
INSERT INTO lake.estimates (dataset, engine, manifests, files, bytes, seconds, dpu_seconds, dollars)
VALUES (:dataset, :engine, :manifests, :files, :bytes, :seconds, :dpu_seconds, :dollars)
ON CONFLICT (dataset) DO UPDATE SET engine = excluded.engine, made_at = clock_timestamp(),
    manifests = excluded.manifests, files = excluded.files, bytes = excluded.bytes, seconds = excluded.seconds,
    dpu_seconds = excluded.dpu_seconds, dollars = excluded.dollars;

-- name: saved_estimate(dataset)^
SELECT dataset, engine, made_at, manifests, files, bytes, seconds, dpu_seconds, dollars
FROM lake.estimates WHERE dataset = :dataset;
