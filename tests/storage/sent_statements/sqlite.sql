-- The merge of an event as SQLite is sent it, by the parts that the event has.

-- name: write message stored resent own
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, stored_stamp, stored_body,
stored_content_type, stored_content_encoding, resent, again_stamp, own_stamp, own_message) VALUES
(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET
date_created = min(t.date_created, excluded.date_created), date_updated = max(t.date_updated,
excluded.date_updated), date_published = min( COALESCE(t.date_published, excluded.date_published),
COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , stored_stamp = CASE WHEN excluded.stored_stamp >
COALESCE(t.stored_stamp, '') THEN excluded.stored_stamp ELSE t.stored_stamp END, stored_body = CASE
WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN excluded.stored_body ELSE
t.stored_body END, stored_content_type = CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp,
'') THEN excluded.stored_content_type ELSE t.stored_content_type END, stored_content_encoding =
CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN
excluded.stored_content_encoding ELSE t.stored_content_encoding END , resent = CASE WHEN CASE WHEN
excluded.resent > COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END >
COALESCE(t.outcome_stamp, '') AND CASE WHEN excluded.resent > COALESCE(t.resent, '') THEN
excluded.resent ELSE t.resent END > COALESCE(excluded.outcome_stamp, '') THEN CASE WHEN
excluded.resent > COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END END , again_stamp =
NULLIF(min( COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'), CASE WHEN
t.message_stamp <> excluded.message_stamp AND max(t.message_stamp, excluded.message_stamp) <
'00000000021' THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END ), '~') , own_stamp =
CASE WHEN excluded.own_stamp > COALESCE(t.own_stamp, '') THEN excluded.own_stamp ELSE t.own_stamp
END, own_message = CASE WHEN excluded.own_stamp > COALESCE(t.own_stamp, '') THEN
excluded.own_message ELSE t.own_message END, lost_end = CASE WHEN excluded.state = 'SUCCESS' AND
excluded.outcome_stamp < t.outcome_stamp AND (excluded.date_started IS NOT NULL OR excluded.worker
IS NOT NULL) THEN json_array( excluded.outcome_stamp, excluded.retries, excluded.worker,
excluded.date_started, excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS
NOT NULL;

-- name: write message stored resent
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, stored_stamp, stored_body,
stored_content_type, stored_content_encoding, resent, again_stamp) VALUES (?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET date_created =
min(t.date_created, excluded.date_created), date_updated = max(t.date_updated,
excluded.date_updated), date_published = min( COALESCE(t.date_published, excluded.date_published),
COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , stored_stamp = CASE WHEN excluded.stored_stamp >
COALESCE(t.stored_stamp, '') THEN excluded.stored_stamp ELSE t.stored_stamp END, stored_body = CASE
WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN excluded.stored_body ELSE
t.stored_body END, stored_content_type = CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp,
'') THEN excluded.stored_content_type ELSE t.stored_content_type END, stored_content_encoding =
CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN
excluded.stored_content_encoding ELSE t.stored_content_encoding END , resent = CASE WHEN CASE WHEN
excluded.resent > COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END >
COALESCE(t.outcome_stamp, '') AND CASE WHEN excluded.resent > COALESCE(t.resent, '') THEN
excluded.resent ELSE t.resent END > COALESCE(excluded.outcome_stamp, '') THEN CASE WHEN
excluded.resent > COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END END , again_stamp =
NULLIF(min( COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'), CASE WHEN
t.message_stamp <> excluded.message_stamp AND max(t.message_stamp, excluded.message_stamp) <
'00000000021' THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END ), '~') , lost_end =
CASE WHEN excluded.state = 'SUCCESS' AND excluded.outcome_stamp < t.outcome_stamp AND
(excluded.date_started IS NOT NULL OR excluded.worker IS NOT NULL) THEN json_array(
excluded.outcome_stamp, excluded.retries, excluded.worker, excluded.date_started,
excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS NOT NULL;

-- name: write message stored own
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, stored_stamp, stored_body,
stored_content_type, stored_content_encoding, again_stamp, own_stamp, own_message) VALUES (?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET date_created
= min(t.date_created, excluded.date_created), date_updated = max(t.date_updated,
excluded.date_updated), date_published = min( COALESCE(t.date_published, excluded.date_published),
COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , stored_stamp = CASE WHEN excluded.stored_stamp >
COALESCE(t.stored_stamp, '') THEN excluded.stored_stamp ELSE t.stored_stamp END, stored_body = CASE
WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN excluded.stored_body ELSE
t.stored_body END, stored_content_type = CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp,
'') THEN excluded.stored_content_type ELSE t.stored_content_type END, stored_content_encoding =
CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN
excluded.stored_content_encoding ELSE t.stored_content_encoding END , resent = CASE WHEN t.resent >
COALESCE(t.outcome_stamp, '') AND t.resent > COALESCE(excluded.outcome_stamp, '') THEN t.resent END
, again_stamp = NULLIF(min( COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'), CASE
WHEN t.message_stamp <> excluded.message_stamp AND max(t.message_stamp, excluded.message_stamp) <
'00000000021' THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END ), '~') , own_stamp =
CASE WHEN excluded.own_stamp > COALESCE(t.own_stamp, '') THEN excluded.own_stamp ELSE t.own_stamp
END, own_message = CASE WHEN excluded.own_stamp > COALESCE(t.own_stamp, '') THEN
excluded.own_message ELSE t.own_message END, lost_end = CASE WHEN excluded.state = 'SUCCESS' AND
excluded.outcome_stamp < t.outcome_stamp AND (excluded.date_started IS NOT NULL OR excluded.worker
IS NOT NULL) THEN json_array( excluded.outcome_stamp, excluded.retries, excluded.worker,
excluded.date_started, excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS
NOT NULL;

-- name: write message stored
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, stored_stamp, stored_body,
stored_content_type, stored_content_encoding, again_stamp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET date_created = min(t.date_created,
excluded.date_created), date_updated = max(t.date_updated, excluded.date_updated), date_published =
min( COALESCE(t.date_published, excluded.date_published), COALESCE(excluded.date_published,
t.date_published) ) , outcome_stamp = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp,
'') THEN excluded.outcome_stamp ELSE t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp
> COALESCE(t.outcome_stamp, '') THEN excluded.state ELSE t.state END, open = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries
= CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE
t.retries END, worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.worker ELSE t.worker END, date_started = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_started ELSE t.date_started END, date_done = CASE
WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE
t.date_done END, stale_from = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.stale_from ELSE t.stale_from END, runtime = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.runtime ELSE t.runtime END, result = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END,
result_text = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_text ELSE t.result_text END, result_form = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result_form ELSE t.result_form END, exception_type =
CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE
t.exception_type END, exception_message = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_message ELSE t.exception_message END,
traceback = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.traceback ELSE t.traceback END, children = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.children ELSE t.children END, expire_at = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at
END, fingerprint = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.fingerprint ELSE t.fingerprint END , message_stamp = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.message_stamp ELSE t.message_stamp END, name = CASE
WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END,
args = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE
t.args END, kwargs = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.kwargs ELSE t.kwargs END, embed = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.embed ELSE t.embed END, body = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END,
content_type = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.content_type ELSE t.content_type END, content_encoding = CASE WHEN excluded.message_stamp
< COALESCE(t.message_stamp, '~') THEN excluded.content_encoding ELSE t.content_encoding END,
headers = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers
ELSE t.headers END, properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~')
THEN excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , stored_stamp = CASE WHEN excluded.stored_stamp >
COALESCE(t.stored_stamp, '') THEN excluded.stored_stamp ELSE t.stored_stamp END, stored_body = CASE
WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN excluded.stored_body ELSE
t.stored_body END, stored_content_type = CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp,
'') THEN excluded.stored_content_type ELSE t.stored_content_type END, stored_content_encoding =
CASE WHEN excluded.stored_stamp > COALESCE(t.stored_stamp, '') THEN
excluded.stored_content_encoding ELSE t.stored_content_encoding END , resent = CASE WHEN t.resent >
COALESCE(t.outcome_stamp, '') AND t.resent > COALESCE(excluded.outcome_stamp, '') THEN t.resent END
, again_stamp = NULLIF(min( COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'), CASE
WHEN t.message_stamp <> excluded.message_stamp AND max(t.message_stamp, excluded.message_stamp) <
'00000000021' THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END ), '~') , lost_end =
CASE WHEN excluded.state = 'SUCCESS' AND excluded.outcome_stamp < t.outcome_stamp AND
(excluded.date_started IS NOT NULL OR excluded.worker IS NOT NULL) THEN json_array(
excluded.outcome_stamp, excluded.retries, excluded.worker, excluded.date_started,
excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS NOT NULL;

-- name: write message resent own
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, resent, again_stamp, own_stamp,
own_message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO
UPDATE SET date_created = min(t.date_created, excluded.date_created), date_updated =
max(t.date_updated, excluded.date_updated), date_published = min( COALESCE(t.date_published,
excluded.date_published), COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp =
CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , resent = CASE WHEN CASE WHEN excluded.resent >
COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END > COALESCE(t.outcome_stamp, '') AND
CASE WHEN excluded.resent > COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END >
COALESCE(excluded.outcome_stamp, '') THEN CASE WHEN excluded.resent > COALESCE(t.resent, '') THEN
excluded.resent ELSE t.resent END END , again_stamp = NULLIF(min( COALESCE(t.again_stamp, '~'),
COALESCE(excluded.again_stamp, '~'), CASE WHEN t.message_stamp <> excluded.message_stamp AND
max(t.message_stamp, excluded.message_stamp) < '00000000021' THEN max(t.message_stamp,
excluded.message_stamp) ELSE '~' END ), '~') , own_stamp = CASE WHEN excluded.own_stamp >
COALESCE(t.own_stamp, '') THEN excluded.own_stamp ELSE t.own_stamp END, own_message = CASE WHEN
excluded.own_stamp > COALESCE(t.own_stamp, '') THEN excluded.own_message ELSE t.own_message END,
lost_end = CASE WHEN excluded.state = 'SUCCESS' AND excluded.outcome_stamp < t.outcome_stamp AND
(excluded.date_started IS NOT NULL OR excluded.worker IS NOT NULL) THEN json_array(
excluded.outcome_stamp, excluded.retries, excluded.worker, excluded.date_started,
excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS NOT NULL;

-- name: write message resent
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, resent, again_stamp) VALUES (?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET date_created =
min(t.date_created, excluded.date_created), date_updated = max(t.date_updated,
excluded.date_updated), date_published = min( COALESCE(t.date_published, excluded.date_published),
COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , resent = CASE WHEN CASE WHEN excluded.resent >
COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END > COALESCE(t.outcome_stamp, '') AND
CASE WHEN excluded.resent > COALESCE(t.resent, '') THEN excluded.resent ELSE t.resent END >
COALESCE(excluded.outcome_stamp, '') THEN CASE WHEN excluded.resent > COALESCE(t.resent, '') THEN
excluded.resent ELSE t.resent END END , again_stamp = NULLIF(min( COALESCE(t.again_stamp, '~'),
COALESCE(excluded.again_stamp, '~'), CASE WHEN t.message_stamp <> excluded.message_stamp AND
max(t.message_stamp, excluded.message_stamp) < '00000000021' THEN max(t.message_stamp,
excluded.message_stamp) ELSE '~' END ), '~') , lost_end = CASE WHEN excluded.state = 'SUCCESS' AND
excluded.outcome_stamp < t.outcome_stamp AND (excluded.date_started IS NOT NULL OR excluded.worker
IS NOT NULL) THEN json_array( excluded.outcome_stamp, excluded.retries, excluded.worker,
excluded.date_started, excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS
NOT NULL;

-- name: write message own
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, again_stamp, own_stamp,
own_message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO
UPDATE SET date_created = min(t.date_created, excluded.date_created), date_updated =
max(t.date_updated, excluded.date_updated), date_published = min( COALESCE(t.date_published,
excluded.date_published), COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp =
CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , resent = CASE WHEN t.resent > COALESCE(t.outcome_stamp,
'') AND t.resent > COALESCE(excluded.outcome_stamp, '') THEN t.resent END , again_stamp =
NULLIF(min( COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'), CASE WHEN
t.message_stamp <> excluded.message_stamp AND max(t.message_stamp, excluded.message_stamp) <
'00000000021' THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END ), '~') , own_stamp =
CASE WHEN excluded.own_stamp > COALESCE(t.own_stamp, '') THEN excluded.own_stamp ELSE t.own_stamp
END, own_message = CASE WHEN excluded.own_stamp > COALESCE(t.own_stamp, '') THEN
excluded.own_message ELSE t.own_message END, lost_end = CASE WHEN excluded.state = 'SUCCESS' AND
excluded.outcome_stamp < t.outcome_stamp AND (excluded.date_started IS NOT NULL OR excluded.worker
IS NOT NULL) THEN json_array( excluded.outcome_stamp, excluded.retries, excluded.worker,
excluded.date_started, excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS
NOT NULL;

-- name: write message
INSERT INTO fullresult_task AS t (task_id, date_created, date_updated, date_published,
outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result,
result_text, result_form, exception_type, exception_message, traceback, children, expire_at,
fingerprint, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding,
headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id,
group_id, retry_of, notes, start_stamp, start_worker, start_date, again_stamp) VALUES (?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task_id) DO UPDATE SET date_created =
min(t.date_created, excluded.date_created), date_updated = max(t.date_updated,
excluded.date_updated), date_published = min( COALESCE(t.date_published, excluded.date_published),
COALESCE(excluded.date_published, t.date_published) ) , outcome_stamp = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.outcome_stamp ELSE
t.outcome_stamp END, state = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.state ELSE t.state END, open = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.open ELSE t.open END, retries = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.retries ELSE t.retries END,
worker = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.worker ELSE
t.worker END, date_started = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.date_started ELSE t.date_started END, date_done = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.date_done ELSE t.date_done END, stale_from = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.stale_from ELSE t.stale_from
END, runtime = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.runtime ELSE t.runtime END, result = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.result ELSE t.result END, result_text = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.result_text ELSE t.result_text
END, result_form = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.result_form ELSE t.result_form END, exception_type = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.exception_type ELSE t.exception_type END,
exception_message = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.exception_message ELSE t.exception_message END, traceback = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.traceback ELSE t.traceback
END, children = CASE WHEN excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN
excluded.children ELSE t.children END, expire_at = CASE WHEN excluded.outcome_stamp >
COALESCE(t.outcome_stamp, '') THEN excluded.expire_at ELSE t.expire_at END, fingerprint = CASE WHEN
excluded.outcome_stamp > COALESCE(t.outcome_stamp, '') THEN excluded.fingerprint ELSE t.fingerprint
END , message_stamp = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.message_stamp ELSE t.message_stamp END, name = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.name ELSE t.name END, args = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.args ELSE t.args END, kwargs
= CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.kwargs ELSE
t.kwargs END, embed = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.embed ELSE t.embed END, body = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.body ELSE t.body END, content_type = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.content_type ELSE
t.content_type END, content_encoding = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp,
'~') THEN excluded.content_encoding ELSE t.content_encoding END, headers = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.headers ELSE t.headers END,
properties = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.properties ELSE t.properties END, exchange = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.exchange ELSE t.exchange END, routing_key = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.routing_key ELSE
t.routing_key END, queue = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.queue ELSE t.queue END, priority = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.priority ELSE t.priority END, eta = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.eta ELSE t.eta END, expires =
CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.expires ELSE
t.expires END, root_id = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.root_id ELSE t.root_id END, parent_id = CASE WHEN excluded.message_stamp <
COALESCE(t.message_stamp, '~') THEN excluded.parent_id ELSE t.parent_id END, group_id = CASE WHEN
excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.group_id ELSE t.group_id END,
retry_of = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN excluded.retry_of
ELSE t.retry_of END, notes = CASE WHEN excluded.message_stamp < COALESCE(t.message_stamp, '~') THEN
excluded.notes ELSE t.notes END , start_stamp = CASE WHEN excluded.start_stamp <
COALESCE(t.start_stamp, '~') THEN excluded.start_stamp ELSE t.start_stamp END, start_worker = CASE
WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN excluded.start_worker ELSE
t.start_worker END, start_date = CASE WHEN excluded.start_stamp < COALESCE(t.start_stamp, '~') THEN
excluded.start_date ELSE t.start_date END , resent = CASE WHEN t.resent > COALESCE(t.outcome_stamp,
'') AND t.resent > COALESCE(excluded.outcome_stamp, '') THEN t.resent END , again_stamp =
NULLIF(min( COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'), CASE WHEN
t.message_stamp <> excluded.message_stamp AND max(t.message_stamp, excluded.message_stamp) <
'00000000021' THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END ), '~') , lost_end =
CASE WHEN excluded.state = 'SUCCESS' AND excluded.outcome_stamp < t.outcome_stamp AND
(excluded.date_started IS NOT NULL OR excluded.worker IS NOT NULL) THEN json_array(
excluded.outcome_stamp, excluded.retries, excluded.worker, excluded.date_started,
excluded.date_done ) END RETURNING message_stamp IS NULL OR again_stamp IS NOT NULL;

-- name: update open start stored
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?,
retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result = ?,
result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ? , start_stamp = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_stamp END,
start_worker = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_worker END, start_date =
CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_date END , stored_stamp = CASE WHEN ? >
COALESCE(stored_stamp, '') THEN ? ELSE stored_stamp END, stored_body = CASE WHEN ? >
COALESCE(stored_stamp, '') THEN ? ELSE stored_body END, stored_content_type = CASE WHEN ? >
COALESCE(stored_stamp, '') THEN ? ELSE stored_content_type END, stored_content_encoding = CASE WHEN
? > COALESCE(stored_stamp, '') THEN ? ELSE stored_content_encoding END WHERE task_id = ? AND
outcome_stamp < ? AND date_created <= ? AND message_stamp IS NOT NULL AND resent IS NULL AND
again_stamp IS NULL AND open = 1 AND expire_at IS NULL;

-- name: update open start
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?,
retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result = ?,
result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ? , start_stamp = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_stamp END,
start_worker = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_worker END, start_date =
CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_date END WHERE task_id = ? AND
outcome_stamp < ? AND date_created <= ? AND message_stamp IS NOT NULL AND resent IS NULL AND
again_stamp IS NULL AND open = 1 AND expire_at IS NULL;

-- name: update open stored
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?,
retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result = ?,
result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ? , stored_stamp = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE stored_stamp
END, stored_body = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE stored_body END,
stored_content_type = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE stored_content_type END,
stored_content_encoding = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE
stored_content_encoding END WHERE task_id = ? AND outcome_stamp < ? AND date_created <= ? AND
message_stamp IS NOT NULL AND resent IS NULL AND again_stamp IS NULL AND open = 1 AND expire_at IS
NULL;

-- name: update open
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?,
retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result = ?,
result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ? WHERE task_id = ? AND outcome_stamp < ? AND date_created <= ? AND message_stamp IS NOT
NULL AND resent IS NULL AND again_stamp IS NULL AND open = 1 AND expire_at IS NULL;

-- name: update start stored
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?, open
= ?, retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result
= ?, result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ?, expire_at = ?, fingerprint = ? , start_stamp = CASE WHEN ? < COALESCE(start_stamp,
'~') THEN ? ELSE start_stamp END, start_worker = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ?
ELSE start_worker END, start_date = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_date
END , stored_stamp = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE stored_stamp END,
stored_body = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE stored_body END,
stored_content_type = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE stored_content_type END,
stored_content_encoding = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE
stored_content_encoding END WHERE task_id = ? AND outcome_stamp < ? AND date_created <= ? AND
message_stamp IS NOT NULL AND resent IS NULL AND again_stamp IS NULL;

-- name: update start
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?, open
= ?, retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result
= ?, result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ?, expire_at = ?, fingerprint = ? , start_stamp = CASE WHEN ? < COALESCE(start_stamp,
'~') THEN ? ELSE start_stamp END, start_worker = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ?
ELSE start_worker END, start_date = CASE WHEN ? < COALESCE(start_stamp, '~') THEN ? ELSE start_date
END WHERE task_id = ? AND outcome_stamp < ? AND date_created <= ? AND message_stamp IS NOT NULL AND
resent IS NULL AND again_stamp IS NULL;

-- name: update stored
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?, open
= ?, retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result
= ?, result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ?, expire_at = ?, fingerprint = ? , stored_stamp = CASE WHEN ? > COALESCE(stored_stamp,
'') THEN ? ELSE stored_stamp END, stored_body = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ?
ELSE stored_body END, stored_content_type = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ? ELSE
stored_content_type END, stored_content_encoding = CASE WHEN ? > COALESCE(stored_stamp, '') THEN ?
ELSE stored_content_encoding END WHERE task_id = ? AND outcome_stamp < ? AND date_created <= ? AND
message_stamp IS NOT NULL AND resent IS NULL AND again_stamp IS NULL;

-- name: update
UPDATE fullresult_task SET date_updated = max(date_updated, ?) , outcome_stamp = ?, state = ?, open
= ?, retries = ?, worker = ?, date_started = ?, date_done = ?, stale_from = ?, runtime = ?, result
= ?, result_text = ?, result_form = ?, exception_type = ?, exception_message = ?, traceback = ?,
children = ?, expire_at = ?, fingerprint = ? WHERE task_id = ? AND outcome_stamp < ? AND
date_created <= ? AND message_stamp IS NOT NULL AND resent IS NULL AND again_stamp IS NULL;
