-- Every statement of the ledger. Conditions on status are written out, for the partial indexes to match them.

-- name: lock_dataset(dataset)$
-- What changes which version of a key is current runs alone in its dataset; ends with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('lake.dataset.' || :dataset, 0));

-- name: share_dataset(dataset)$
-- What works on one manifest runs beside others of its dataset, but not beside lock_dataset.
SELECT pg_advisory_xact_lock_shared(hashtextextended('lake.dataset.' || :dataset, 0));

-- ---------------------------------------------------------------- discovery

-- name: create_incoming#
-- Where a batch of listed objects is copied to.
CREATE TEMP TABLE incoming (
    s3_key text COLLATE "C", etag text COLLATE "C", size bigint, last_modified timestamptz, landing_group text COLLATE "C"
) ON COMMIT DROP;

-- name: doubtful_incoming(dataset)
-- Unknown versions that are older than a known one of their key: whoever saw them may have been slow to say so. To the
-- second, for S3's HEAD tells no more than that.
SELECT i.s3_key, i.etag FROM incoming i
WHERE date_trunc('second', i.last_modified) < (
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
    INSERT INTO lake.file_processing_status (dataset, s3_key, etag, size, last_modified, landing_group)
    SELECT :dataset, s3_key, etag, size, last_modified, landing_group FROM incoming
    ON CONFLICT DO NOTHING
    RETURNING s3_key
)
SELECT count(*) AS added, coalesce(array_agg(s3_key) FILTER (WHERE EXISTS (
    SELECT FROM lake.file_processing_status older WHERE older.dataset = :dataset AND older.s3_key = added.s3_key
)), '{}') AS versioned
FROM added;

-- name: register_unseen(dataset)!
-- Insert what is of keys that have no version yet.
INSERT INTO lake.file_processing_status (dataset, s3_key, etag, size, last_modified, landing_group)
SELECT :dataset, s3_key, etag, size, last_modified, landing_group FROM incoming i
WHERE NOT EXISTS (SELECT FROM lake.file_processing_status f WHERE f.dataset = :dataset AND f.s3_key = i.s3_key);

-- name: otherwise_known(dataset)
-- Keys that are known, but not in this version, or were done with in it.
SELECT i.s3_key FROM incoming i
WHERE NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.status <> 'SUPERSEDED'
);

-- name: restore_incoming(dataset)
-- A superseded version that lies in the store again is the newest one again; its keys.
UPDATE lake.file_processing_status f
SET id = DEFAULT, status = 'PENDING', manifest_id = NULL, retry_count = 0, error_class = NULL, error_message = NULL,
    last_modified = i.last_modified, discovered_at = now(), claimed_at = NULL, processed_at = NULL, rows_read = NULL,
    rows_written = NULL, rows_rescued = NULL, rows_quarantined = NULL, rows_dropped = NULL, rows_exploded = NULL,
    archived_key = NULL, relanded = false
FROM incoming i
WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.status = 'SUPERSEDED'
    -- A late notice of the old upload is not a new upload.
    AND i.last_modified >= (
        SELECT newest.last_modified FROM lake.file_processing_status newest
        WHERE newest.dataset = f.dataset AND newest.s3_key = f.s3_key ORDER BY newest.id DESC LIMIT 1
    )
RETURNING f.s3_key;

-- name: mark_relanded(dataset)!
-- Versions that were moved away and lie where they landed again: the same bytes were uploaded once more.
UPDATE lake.file_processing_status f SET relanded = true
FROM incoming i
WHERE f.dataset = :dataset AND f.s3_key = i.s3_key AND f.etag = i.etag AND f.size = i.size
    AND f.status <> 'SUPERSEDED' AND f.archived_key IS NOT NULL AND NOT f.relanded;

-- name: attach_new_versions(dataset, keys)!
-- Where an older version has rows in the lake, its manifest is planned again with the new one in its place.
WITH newest AS (
    SELECT DISTINCT ON (f.s3_key) f.id, f.s3_key
    FROM unnest(:keys::text[]) AS k (s3_key)
    JOIN lake.file_processing_status f ON f.dataset = :dataset AND f.s3_key = k.s3_key
    WHERE f.status = 'PENDING' AND f.manifest_id IS NULL
    ORDER BY f.s3_key, f.id DESC
), holder AS (
    SELECT DISTINCT ON (n.id) n.id, older.manifest_id
    FROM newest n
    JOIN lake.file_processing_status older
        ON older.dataset = :dataset AND older.s3_key = n.s3_key AND older.id < n.id
    JOIN lake.manifests m ON m.dataset = older.dataset AND m.manifest_id = older.manifest_id
    WHERE older.status IN ('SUCCEEDED', 'PENDING', 'FAILED') AND m.committed_at IS NOT NULL AND m.state <> 'RUNNING'
        AND NOT EXISTS (
            SELECT FROM lake.file_processing_status busy
            WHERE busy.dataset = :dataset AND busy.s3_key = n.s3_key AND busy.status = 'PROCESSING'
        )
    ORDER BY n.id, older.id DESC
), planned AS (
    UPDATE lake.manifests m SET state = 'PLANNED', failures = 0, error_message = NULL, planned_at = now()
    WHERE m.dataset = :dataset AND m.manifest_id IN (SELECT manifest_id FROM holder)
)
UPDATE lake.file_processing_status f SET manifest_id = holder.manifest_id, rows_written = NULL
FROM holder WHERE f.id = holder.id;

-- name: supersede_old_versions(dataset, keys)!
-- Older versions that are not being converted, and whose rows are not in the lake, are done with. One that waits for a
-- replay has rows there: a count of them is what only a commit gives to a file of a manifest.
UPDATE lake.file_processing_status older SET status = 'SUPERSEDED'
FROM unnest(:keys::text[]) AS k (s3_key)
WHERE older.dataset = :dataset AND older.s3_key = k.s3_key
    AND older.status IN ('PENDING', 'FAILED', 'QUARANTINED')
    AND NOT (older.status <> 'QUARANTINED' AND older.rows_written IS NOT NULL AND EXISTS (
        SELECT FROM lake.manifests m
        WHERE m.dataset = older.dataset AND m.manifest_id = older.manifest_id AND m.committed_at IS NOT NULL
    ))
    AND EXISTS (
        SELECT FROM lake.file_processing_status newer
        WHERE newer.dataset = :dataset AND newer.s3_key = k.s3_key AND newer.id > older.id
            AND newer.status = 'PENDING'
    );

-- name: unconverted_versions(dataset, keys)
-- Versions of these keys that no manifest holds and whose rows are not in the lake.
SELECT id, s3_key FROM lake.file_processing_status
WHERE dataset = :dataset AND s3_key = ANY (:keys) AND status IN ('PENDING', 'FAILED') AND manifest_id IS NULL;

-- name: supersede_deleted(dataset, ids, message)!
-- Those of the versions that are still so were deleted, and nothing came in their place.
UPDATE lake.file_processing_status
SET status = 'SUPERSEDED', error_class = 'ObjectDeleted', error_message = :message, processed_at = clock_timestamp()
WHERE dataset = :dataset AND id = ANY (:ids) AND status IN ('PENDING', 'FAILED') AND manifest_id IS NULL;

-- name: archived_versions(dataset, keys, etags)
-- Those of the object versions that were moved away, so that they can lie under their keys only if they landed again.
SELECT f.s3_key FROM unnest(:keys::text[], :etags::text[]) AS k (s3_key, etag)
JOIN lake.file_processing_status f ON f.dataset = :dataset AND f.s3_key = k.s3_key AND f.etag = k.etag
WHERE f.status <> 'SUPERSEDED' AND f.archived_key IS NOT NULL AND NOT f.relanded;

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
UPDATE lake.file_processing_status SET status = 'PENDING', rows_written = NULL
WHERE dataset = :dataset AND status = 'FAILED' AND manifest_id IS NULL AND retry_count <= :max_retries
    AND (:keys::text[] IS NULL OR s3_key = ANY (:keys))
    AND processed_at + :backoff::interval * power(2, least(retry_count - 1, 10)) <= now();

-- name: backlog(dataset)
-- record_class: GroupBacklog
-- What waits for a manifest, by landing group; read from the claimable_files index alone.
SELECT landing_group, count(*) AS files, sum(size)::bigint AS bytes, min(discovered_at) AS oldest
FROM lake.file_processing_status
WHERE dataset = :dataset AND status = 'PENDING' AND manifest_id IS NULL
GROUP BY landing_group;

-- name: backlog_of(dataset, keys)
-- record_class: GroupBacklog
-- The same of these keys only.
SELECT landing_group, count(*) AS files, sum(size)::bigint AS bytes, min(discovered_at) AS oldest
FROM lake.file_processing_status
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
-- Claim the oldest files of a group, up to both limits but at least one.
WITH candidate AS (
    SELECT f.id, f.size FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.landing_group = :landing_group AND f.status = 'PENDING' AND f.manifest_id IS NULL
        AND (:keys::text[] IS NULL OR f.s3_key = ANY (:keys))
        -- A version whose forerunner is being converted waits, so that one key never has rows twice.
        AND NOT EXISTS (
            SELECT FROM lake.file_processing_status older
            WHERE older.dataset = f.dataset AND older.s3_key = f.s3_key AND older.status = 'PROCESSING'
        )
    ORDER BY f.id LIMIT :max_files
    FOR UPDATE OF f SKIP LOCKED
), counted AS (
    SELECT id, row_number() OVER by_id AS position, sum(size) OVER by_id AS total
    FROM candidate WINDOW by_id AS (ORDER BY id)
), claimed AS (
    UPDATE lake.file_processing_status f
    SET status = 'PROCESSING', manifest_id = :manifest_id, claimed_at = now(), rows_written = NULL, error_class = NULL,
        error_message = NULL
    FROM counted
    WHERE f.id = counted.id AND (counted.position = 1 OR counted.total <= :max_bytes)
    RETURNING f.id, f.s3_key, f.etag, f.size, f.archived_key
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
    (SELECT count(*) FROM lake.file_processing_status
        WHERE dataset = :dataset AND status = 'PENDING' AND manifest_id IS NULL) AS claimable,
    (SELECT count(*) FROM lake.file_processing_status
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
-- Give a manifest to a worker; an attempt that is taken over counts as failed.
UPDATE lake.manifests
SET failures = failures + CASE WHEN state = 'RUNNING' THEN 1 ELSE 0 END, state = 'RUNNING', attempt = attempt + 1,
    worker = :worker, lease_expires_at = clock_timestamp() + :lease::interval, started_at = clock_timestamp(),
    -- The run of a worker that was killed is the next one's to settle.
    engine_run_id = CASE WHEN engine_attempt IS NOT NULL THEN engine_run_id END, error_message = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id
RETURNING attempt;

-- name: manifest_files(dataset, manifest_id)
-- record_class: ManifestFile
-- The files that a replay converts: the newest version of each key.
SELECT DISTINCT ON (s3_key) id, s3_key AS key, etag, size, coalesce(archived_key, s3_key) AS location
FROM lake.file_processing_status
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status NOT IN ('SUPERSEDED', 'QUARANTINED')
ORDER BY s3_key, id DESC;

-- name: begin_files(dataset, manifest_id)!
-- The same files are now being converted.
UPDATE lake.file_processing_status
SET status = 'PROCESSING', claimed_at = now(), error_class = NULL, error_message = NULL
WHERE id IN (
    SELECT DISTINCT ON (s3_key) id FROM lake.file_processing_status
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND status NOT IN ('SUPERSEDED', 'QUARANTINED')
    ORDER BY s3_key, id DESC
);

-- name: is_pruned(dataset, manifest_id)$
-- Whether the manifest has rows in the lake, and none of the files that they came from is on record any more.
SELECT EXISTS (
    SELECT FROM lake.outputs WHERE dataset = :dataset AND manifest_id = :manifest_id AND committed AND rows > 0
) AND NOT EXISTS (
    SELECT FROM lake.file_processing_status
    WHERE dataset = :dataset AND manifest_id = :manifest_id AND status NOT IN ('SUPERSEDED', 'QUARANTINED')
);

-- name: heartbeat(dataset, manifest_id, attempt, lease)!
-- Renew the lease of the attempt that holds the manifest.
UPDATE lake.manifests SET lease_expires_at = clock_timestamp() + :lease::interval
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
UPDATE lake.file_processing_status SET glue_job_run_id = :run_id
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- name: keys_with_waiting_version(dataset, manifest_id)
-- Keys being converted of which a newer version waits.
SELECT DISTINCT f.s3_key
FROM lake.file_processing_status f
JOIN lake.file_processing_status newer
    ON newer.dataset = f.dataset AND newer.s3_key = f.s3_key AND newer.id > f.id AND newer.status = 'PENDING'
WHERE f.dataset = :dataset AND f.manifest_id = :manifest_id AND f.status = 'PROCESSING';

-- name: finish_files(dataset, manifest_id, ids, statuses, read, written, rescued, quarantined, dropped, exploded, classes, messages)!
-- Record what became of each file; a failed one leaves the manifest, to be claimed again.
UPDATE lake.file_processing_status f
SET status = o.status, rows_read = o.rows_read, rows_written = o.rows_written, rows_rescued = o.rows_rescued,
    rows_quarantined = o.rows_quarantined, rows_dropped = o.rows_dropped, rows_exploded = o.rows_exploded,
    error_class = o.error_class, error_message = o.error_message, processed_at = clock_timestamp(),
    retry_count = f.retry_count + CASE WHEN o.status = 'FAILED' THEN 1 ELSE 0 END,
    manifest_id = CASE WHEN o.status = 'FAILED' THEN NULL ELSE f.manifest_id END
FROM unnest(
    :ids::bigint[], :statuses::text[], :read::bigint[], :written::bigint[], :rescued::bigint[], :quarantined::bigint[],
    :dropped::bigint[], :exploded::bigint[], :classes::text[], :messages::text[]
) AS o (id, status, rows_read, rows_written, rows_rescued, rows_quarantined, rows_dropped, rows_exploded,
    error_class, error_message)
WHERE f.id = o.id AND f.dataset = :dataset AND f.manifest_id = :manifest_id AND f.status = 'PROCESSING';

-- name: unfinished_files(dataset, manifest_id)$
-- Files of the manifest that were given no outcome.
SELECT count(*) FROM lake.file_processing_status
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- name: supersede_replaced(dataset, manifest_id, ids)!
-- Older versions in the manifest, which the committed files replaced.
UPDATE lake.file_processing_status SET status = 'SUPERSEDED'
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status IN ('PENDING', 'SUCCEEDED', 'FAILED')
    AND id <> ALL (:ids::bigint[]);

-- name: commit_manifest(dataset, manifest_id, schema_version, quarantined_records, metrics)!
-- The manifest is done.
UPDATE lake.manifests
SET state = 'COMMITTED', committed_at = clock_timestamp(), changes = changes + 1, failures = 0, replay = false,
    lease_expires_at = NULL, error_message = NULL, schema_version = :schema_version,
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
UPDATE lake.file_processing_status
SET status = 'FAILED', retry_count = retry_count + 1, error_message = :message, processed_at = clock_timestamp()
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- ---------------------------------------------------------------- versions

-- name: replacements(dataset, manifest_ids)
-- record_class: Replacement
-- New versions that wait in committed manifests to replace the rows of an older one. Only a commit counts rows.
SELECT f.id, f.manifest_id, f.s3_key AS key, f.etag, f.size, coalesce(f.archived_key, f.s3_key) AS location
FROM lake.file_processing_status f JOIN lake.manifests m USING (dataset, manifest_id)
WHERE f.dataset = :dataset AND f.manifest_id = ANY (:manifest_ids) AND m.committed_at IS NOT NULL
    AND f.status IN ('PENDING', 'PROCESSING', 'FAILED') AND f.rows_written IS NULL
    AND EXISTS (
        SELECT FROM lake.file_processing_status older
        WHERE older.dataset = f.dataset AND older.s3_key = f.s3_key AND older.manifest_id = f.manifest_id
            AND older.id < f.id AND older.status IN ('PENDING', 'PROCESSING', 'SUCCEEDED', 'FAILED')
            AND older.rows_written IS NOT NULL
    )
ORDER BY f.id;

-- name: withdraw_files(dataset, manifest_id, ids, statuses, classes, messages)!
-- These versions are not to be converted any more.
UPDATE lake.file_processing_status f
SET status = w.status, error_class = w.error_class, error_message = w.error_message, processed_at = clock_timestamp()
FROM unnest(:ids::bigint[], :statuses::text[], :classes::text[], :messages::text[])
    AS w (id, status, error_class, error_message)
WHERE f.id = w.id AND f.dataset = :dataset AND f.manifest_id = :manifest_id;

-- name: is_as_committed(dataset, manifest_id)$
-- Whether the rows in the lake are just those of the manifest's files, and nobody asked for them to be made again.
SELECT NOT m.replay AND NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
        AND f.status IN ('PENDING', 'PROCESSING', 'FAILED') AND f.rows_written IS NULL
)
FROM lake.manifests m WHERE m.dataset = :dataset AND m.manifest_id = :manifest_id;

-- name: recommit_files(dataset, manifest_id)!
-- Files whose rows are in the lake are as their commit left them.
UPDATE lake.file_processing_status
SET status = 'SUCCEEDED', retry_count = 0, error_class = NULL, error_message = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status IN ('PENDING', 'PROCESSING', 'FAILED');

-- name: recommit_manifest(dataset, manifest_id)!
-- And so is the manifest: readers are to see what they saw.
UPDATE lake.manifests
SET state = 'COMMITTED', failures = 0, lease_expires_at = NULL, error_message = NULL
WHERE dataset = :dataset AND manifest_id = :manifest_id;

-- name: replan_files(dataset, manifest_id)!
-- The files that are left wait for the next attempt.
UPDATE lake.file_processing_status SET status = 'PENDING'
WHERE dataset = :dataset AND manifest_id = :manifest_id AND status = 'PROCESSING';

-- name: replan_manifest(dataset, manifest_id)!
-- And so does the manifest.
UPDATE lake.manifests
SET state = 'PLANNED', lease_expires_at = NULL, error_message = NULL, planned_at = now()
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
SELECT o.path, f.s3_key FROM lake.outputs o JOIN lake.file_processing_status f ON f.id = o.file_id
WHERE o.dataset = :dataset AND o.committed ORDER BY o.path;

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
-- Files and bytes by dataset and state, from the files_by_status index alone.
SELECT dataset, status, count(*) AS files, sum(size)::bigint AS bytes
FROM lake.file_processing_status GROUP BY dataset, status;

-- ---------------------------------------------------------------- archive

-- name: files_to_archive(dataset, manifest_id)
-- record_class: ArchivableFile
-- Raw files whose fate is committed and that still lie where they landed, or in quarantine though they succeeded;
-- not those whose key holds a newer version by now.
WITH misplaced AS (
    SELECT id, s3_key, etag, size, status, archived_key, manifest_id FROM lake.file_processing_status
    WHERE dataset = :dataset AND status IN ('SUCCEEDED', 'QUARANTINED') AND archived_key IS NULL
    UNION ALL
    SELECT id, s3_key, etag, size, status, archived_key, manifest_id FROM lake.file_processing_status
    WHERE dataset = :dataset AND status = 'SUCCEEDED' AND starts_with(archived_key, 'quarantine/')
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
SELECT f.id, f.s3_key AS key, f.etag, f.size, f.status, f.archived_key AS location FROM lake.file_processing_status f
WHERE f.dataset = :dataset AND f.relanded AND f.status <> 'SUPERSEDED' AND f.archived_key IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM lake.file_processing_status newer
        WHERE newer.dataset = f.dataset AND newer.s3_key = f.s3_key AND newer.id > f.id
            AND newer.status IN ('PENDING', 'PROCESSING', 'FAILED')
    )
ORDER BY f.s3_key;

-- name: record_archived(dataset, ids, keys)!
-- Where raw files lie now.
UPDATE lake.file_processing_status f SET archived_key = a.archived_key, relanded = false
FROM unnest(:ids::bigint[], :keys::text[]) AS a (id, archived_key)
WHERE f.id = a.id AND f.dataset = :dataset;

-- name: prune_files(dataset, keep, most)$
-- Forget the files of some manifests that were committed so long ago, each manifest as a whole: a replay of half of one
-- would lose rows. Not before every file is where no listing finds it; quarantined ones stay, for they wait for someone.
WITH done AS (
    SELECT m.manifest_id FROM lake.manifests m
    WHERE m.dataset = :dataset AND m.state = 'COMMITTED' AND m.committed_at + :keep::interval <= clock_timestamp()
        AND NOT EXISTS (
            SELECT FROM lake.file_processing_status f
            WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id
                AND f.status NOT IN ('SUPERSEDED', 'QUARANTINED')
                AND (f.status <> 'SUCCEEDED' OR f.archived_key IS NULL OR starts_with(f.archived_key, 'quarantine/'))
        )
        AND EXISTS (
            SELECT FROM lake.file_processing_status f
            WHERE f.dataset = m.dataset AND f.manifest_id = m.manifest_id AND f.status IN ('SUCCEEDED', 'SUPERSEDED')
        )
    ORDER BY m.committed_at LIMIT :most
), pruned AS (
    DELETE FROM lake.file_processing_status f USING done
    WHERE f.dataset = :dataset AND f.manifest_id = done.manifest_id AND f.status IN ('SUCCEEDED', 'SUPERSEDED')
    RETURNING f.id
)
SELECT count(*) FROM pruned;

-- ---------------------------------------------------------------- requeue

-- name: create_requeued#
-- Where the files to do again are collected.
CREATE TEMP TABLE requeued (id bigint, manifest_id text COLLATE "C") ON COMMIT DROP;

-- name: select_requeued(dataset, key, status, manifest_id)!
-- The files meant, with the manifest that must be replayed for them: a quarantined file has no rows to replace.
INSERT INTO requeued
SELECT id, CASE WHEN status <> 'QUARANTINED' THEN manifest_id END
FROM lake.file_processing_status
WHERE dataset = :dataset AND status <> 'SUPERSEDED'
    AND (:key::text IS NULL OR s3_key = :key)
    AND (:status::text IS NULL OR status = :status)
    AND (:manifest_id::text IS NULL OR manifest_id = :manifest_id);

-- name: running_of_requeued(dataset)$
-- A manifest of them that someone is working on.
SELECT manifest_id FROM lake.manifests
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM requeued) AND state = 'RUNNING'
ORDER BY manifest_id LIMIT 1;

-- name: replan_requeued(dataset)!
-- Their manifests are planned again; attempts go on counting, failures start over.
UPDATE lake.manifests
SET state = 'PLANNED', replay = true, failures = 0, worker = NULL, lease_expires_at = NULL, error_message = NULL,
    planned_at = now()
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM requeued);

-- name: requeue_members(dataset)!
-- Every file of those manifests waits for the replay; claimed ones do so already.
UPDATE lake.file_processing_status
SET status = 'PENDING', retry_count = 0, error_class = NULL, error_message = NULL
WHERE dataset = :dataset AND manifest_id IN (SELECT manifest_id FROM requeued)
    AND status IN ('SUCCEEDED', 'FAILED');

-- name: requeue_loose(dataset)!
-- Files that have no rows in the lake are claimable again.
UPDATE lake.file_processing_status
SET status = 'PENDING', manifest_id = NULL, retry_count = 0, error_class = NULL, error_message = NULL, rows_read = NULL,
    rows_written = NULL, rows_rescued = NULL, rows_quarantined = NULL, rows_dropped = NULL, rows_exploded = NULL,
    processed_at = NULL
WHERE dataset = :dataset AND id IN (SELECT id FROM requeued WHERE manifest_id IS NULL)
    AND status IN ('QUARANTINED', 'FAILED');

-- ---------------------------------------------------------------- reading

-- name: status()
-- Files by dataset and status.
SELECT dataset, status, count(*) AS files FROM lake.file_processing_status GROUP BY dataset, status;

-- name: backlog_summary(dataset)^
-- record_class: BacklogSummary
-- How much of a dataset is not yet converted, and since when.
SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes, min(discovered_at) AS oldest
FROM lake.file_processing_status WHERE dataset = :dataset AND status IN ('PENDING', 'PROCESSING');

-- name: files(dataset, status, key)
-- The rows of raw files, by key and version.
SELECT id, dataset, s3_key, etag, size, last_modified, landing_group, status, manifest_id, glue_job_run_id, retry_count,
    error_class, error_message, discovered_at, claimed_at, processed_at, rows_read, rows_written, rows_rescued,
    rows_quarantined, rows_dropped, rows_exploded, archived_key
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
SELECT id, s3_key AS key, etag, size, coalesce(archived_key, s3_key) AS location, landing_group
FROM lake.file_processing_status
WHERE dataset = :dataset AND status = 'PENDING'
ORDER BY min(id) OVER (PARTITION BY landing_group), landing_group, id;

-- name: unknown_versions(dataset, keys, etags)
-- Those of the object versions that the ledger does not know, or was done with.
SELECT k.s3_key, k.etag FROM unnest(:keys::text[], :etags::text[]) AS k (s3_key, etag)
WHERE NOT EXISTS (
    SELECT FROM lake.file_processing_status f
    WHERE f.dataset = :dataset AND f.s3_key = k.s3_key AND f.etag = k.etag AND f.status <> 'SUPERSEDED'
);

-- name: set_aside(dataset, key, manifest_id)
-- Files that were quarantined whole, and files with records in quarantine.
SELECT s3_key AS key, etag, size, coalesce(archived_key, s3_key) AS location, status, manifest_id,
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
