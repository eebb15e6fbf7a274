//! What is sent to S3, in which order, and what happens when it fails.
//!
//! Artifacts go in parallel, the stub universes after all of them: whoever can read a stub finds what it names. A large
//! file goes in parts, which S3 shows only when they are put together, and they are only put together when they are the
//! bytes that the package was built with. Each object carries its hash, so that the next run sends only what is missing.

use super::error::{Asked, S3Error, explain};
use super::{MAX_KEY, S3, joined};
use crate::package::sources::is_stub_file_name;
use crate::publish::publication::{Check, Content, Done, Item, Publication};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// Requests that are under way at one time. Each has at most one part in memory.
const SLOTS: usize = 8;

/// The size of a part, unless the file would have more than [`MAX_PARTS`]. S3 wants at least 5 MiB.
const PART: u64 = 8 << 20;

/// S3 takes no more parts for one object.
const MAX_PARTS: u64 = 10_000;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many items were sent.
    pub uploaded: usize,
    /// How many were there already.
    pub present: usize,
}

impl S3 {
    /// Publishes all items to a directory below the path, the stub universes last. If that fails or is stopped, no stub was
    /// changed, nothing half-sent is left unless S3 can't be reached any more, and the next call sends what is missing.
    /// `told` learns how many bytes are in S3.
    pub async fn publish(
        &self,
        publication: &Publication,
        directory: &str,
        stop: &CancellationToken,
        told: &mut (dyn FnMut(Done) + Send),
    ) -> Result<Summary, S3Error> {
        let prefix = joined(&[&self.path, directory]);
        check_names(publication, directory, &prefix)?;
        self.check_credentials().await?;
        let run = Run {
            s3: self,
            prefix,
            slots: Semaphore::new(SLOTS),
            stop: stop.child_token(),
            total: publication.items.iter().map(|item| item.size).sum(),
            state: Mutex::new(State { told, bytes: 0, summary: Summary::default() }),
        };
        let (stubs, others): (Vec<&Item>, Vec<&Item>) =
            publication.items.iter().partition(|item| is_stub_file_name(&item.name));
        run.all(&others).await?;
        // in their order: the one that `repo add` is given is the last
        for stub in stubs {
            run.one(stub).await?;
        }
        let summary = run.state().summary;
        Ok(summary)
    }
}

/// Whether readers can ask for the items. Each name stands in a URL as it is, and S3 takes a `+` there for a space.
fn check_names(publication: &Publication, directory: &str, prefix: &str) -> Result<(), S3Error> {
    if directory.contains('+') {
        return Err(S3Error::Name(directory.to_owned()));
    }
    for item in &publication.items {
        if item.name.contains('+') {
            return Err(S3Error::Name(item.name.clone()));
        }
        let length = prefix.len() + 1 + item.name.len();
        if length > MAX_KEY {
            let why = format!("with {} it is {length} bytes long, and S3 takes {MAX_KEY}", item.name);
            return Err(S3Error::Path { path: prefix.to_owned(), why });
        }
    }
    Ok(())
}

/// One call of [`S3::publish`].
struct Run<'a> {
    s3: &'a S3,
    /// The directory in the bucket.
    prefix: String,
    slots: Semaphore,
    /// Cancelled by the first error, too: what is under way must be cleared away and not just dropped.
    stop: CancellationToken,
    /// The bytes of all items.
    total: u64,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    told: &'a mut (dyn FnMut(Done) + Send),
    /// Of all items, the bytes that are there.
    bytes: u64,
    summary: Summary,
}

impl<'a> Run<'a> {
    /// Sends items in parallel. The first error stops the others.
    async fn all(&self, items: &[&Item]) -> Result<(), S3Error> {
        let mut running = stream::iter(items).map(|item| self.one(item)).buffer_unordered(SLOTS);
        let mut outcome = Ok(());
        while let Some(one) = running.next().await {
            if outcome.is_ok() && one.is_err() {
                self.stop.cancel();
                outcome = one;
            }
        }
        outcome
    }

    async fn one(&self, item: &Item) -> Result<(), S3Error> {
        if self.unless_stopped(self.is_present(item)).await? {
            self.state().summary.present += 1;
            self.tell(item, item.size);
            return Ok(());
        }
        match &item.content {
            Content::Bytes(bytes) => self.unless_stopped(self.put(item, bytes.clone())).await?,
            Content::File(path) if item.size <= PART => {
                self.unless_stopped(self.put_file(item, path)).await?;
            }
            Content::File(path) => self.multipart(item, path).await?,
        }
        self.state().summary.uploaded += 1;
        Ok(())
    }

    /// Runs work that may be dropped anywhere.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, S3Error>>) -> Result<T, S3Error> {
        self.stop.run_until_cancelled(work).await.unwrap_or(Err(S3Error::Stopped))
    }

    fn key(&self, item: &Item) -> String {
        format!("{}/{}", self.prefix, item.name)
    }

    fn asked<'b>(&'b self, action: &'static str, key: &'b str) -> Asked<'b> {
        Asked { action, bucket: &self.s3.bucket, key, url: &self.s3.root_url }
    }

    /// Whether the object is there as this run would send it.
    async fn is_present(&self, item: &Item) -> Result<bool, S3Error> {
        let key = self.key(item);
        let answer = Box::pin(self.s3.client.head_object().bucket(&self.s3.bucket).key(&key).send()).await;
        let object = match answer {
            Ok(object) => object,
            // Not there, or not allowed to know: without ListBucket S3 says 403 for both. Sending tells the rest.
            Err(aws_sdk_s3::error::SdkError::ServiceError(_)) => return Ok(false),
            Err(error) => return Err(explain(error, &self.asked("s3:GetObject", &key))),
        };
        Ok(object.metadata() == Some(&self.metadata(item))
            && object.content_length().and_then(|length| u64::try_from(length).ok()) == Some(item.size)
            && object.content_type() == Some(item.content_type))
    }

    /// What an object carries: its hash, because S3's own ETag is none for what came in parts, and its ACL, so that a run
    /// with another one sends it again.
    fn metadata(&self, item: &Item) -> HashMap<String, String> {
        let acl = self.s3.acl.as_ref().map(|acl| ("acl".to_owned(), acl.as_str().to_owned()));
        [("sha256".to_owned(), item.sha256.clone())].into_iter().chain(acl).collect()
    }

    async fn put_file(&self, item: &Item, path: &Path) -> Result<(), S3Error> {
        let mut file = open(path, item).await?;
        let bytes = read(&mut file, path, PART + 1).await?;
        let mut check = Check::new(item);
        check.update(&bytes);
        check.finish()?;
        self.put(item, bytes).await
    }

    async fn put(&self, item: &Item, bytes: Bytes) -> Result<(), S3Error> {
        let _slot = self.slot().await;
        let key = self.key(item);
        let request = self.s3.client.put_object().bucket(&self.s3.bucket).key(&key);
        let request = request.content_type(item.content_type).set_metadata(Some(self.metadata(item)));
        let request = request.set_acl(self.s3.acl.clone()).body(ByteStream::from(bytes));
        let answer = Box::pin(request.send()).await;
        answer.map_err(|error| explain(error, &self.asked("s3:PutObject", &key)))?;
        self.tell(item, item.size);
        Ok(())
    }

    /// Sends a file in parts. Whatever goes wrong, the parts are removed again.
    async fn multipart(&self, item: &Item, path: &Path) -> Result<(), S3Error> {
        let key = self.key(item);
        let file = open(path, item).await?;
        // not stopped in between: without the answer nothing could be removed
        let upload = self.begin(item, &key).await?;
        let sent = self.unless_stopped(async {
            let parts = self.parts(item, path, file, &key, &upload).await?;
            self.complete(item, &key, &upload, parts).await
        });
        let outcome = sent.await;
        if outcome.is_err() {
            self.abort(&key, &upload).await;
        }
        outcome
    }

    async fn begin(&self, item: &Item, key: &str) -> Result<String, S3Error> {
        let request = self.s3.client.create_multipart_upload().bucket(&self.s3.bucket).key(key);
        let request = request.content_type(item.content_type).set_metadata(Some(self.metadata(item)));
        let asked = self.asked("s3:PutObject", key);
        let answer = Box::pin(request.set_acl(self.s3.acl.clone()).send())
            .await
            .map_err(|error| explain(error, &asked))?;
        answer.upload_id.ok_or_else(|| asked.odd("an upload in parts was begun without an id"))
    }

    /// Reads and sends all parts, as many at one time as there are slots, and checks that they are the item's bytes.
    async fn parts(
        &self,
        item: &Item,
        path: &Path,
        mut file: impl AsyncRead + Unpin,
        key: &str,
        upload: &str,
    ) -> Result<Vec<CompletedPart>, S3Error> {
        let size = part_size(item.size);
        let mut check = Check::new(item);
        let (mut sending, mut sent) = (FuturesUnordered::new(), Vec::new());
        for number in 1.. {
            // what is being sent goes on meanwhile, and gives its slot back
            let slot = loop {
                tokio::select! {
                    slot = self.slot() => break slot,
                    Some(part) = sending.next() => sent.push(part?),
                }
            };
            let bytes = read(&mut file, path, size).await?;
            if bytes.is_empty() {
                break;
            }
            check.update(&bytes);
            sending.push(self.part(item, key, upload, number, bytes, slot));
        }
        check.finish()?;
        while let Some(part) = sending.next().await {
            sent.push(part?);
        }
        sent.sort_by_key(CompletedPart::part_number);
        Ok(sent)
    }

    async fn part(
        &self,
        item: &Item,
        key: &str,
        upload: &str,
        number: i32,
        bytes: Bytes,
        slot: SemaphorePermit<'_>,
    ) -> Result<CompletedPart, S3Error> {
        let length = bytes.len() as u64;
        let request = self.s3.client.upload_part().bucket(&self.s3.bucket).key(key).upload_id(upload);
        let request = request.part_number(number).body(ByteStream::from(bytes));
        let answer = Box::pin(request.send()).await;
        drop(slot);
        let answer = answer.map_err(|error| explain(error, &self.asked("s3:PutObject", key)))?;
        self.tell(item, length);
        // what S3 said of the part is said again at the end; which checksum it is depends on the server
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .set_checksum_sha1(answer.checksum_sha1)
            .set_checksum_sha256(answer.checksum_sha256)
            .build())
    }

    async fn complete(
        &self,
        item: &Item,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), S3Error> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.s3.client.complete_multipart_upload().bucket(&self.s3.bucket).key(key);
        let request = request.upload_id(upload).multipart_upload(parts);
        let answer = Box::pin(request.send()).await;
        let Err(error) = answer else { return Ok(()) };
        // The answer to an earlier attempt may have been lost, and then S3 knows of no such upload any more.
        if self.is_present(item).await.unwrap_or(false) {
            return Ok(());
        }
        Err(explain(error, &self.asked("s3:PutObject", key)))
    }

    async fn abort(&self, key: &str, upload: &str) {
        let request = self.s3.client.abort_multipart_upload().bucket(&self.s3.bucket).key(key);
        if let Err(error) = Box::pin(request.upload_id(upload).send()).await {
            let error = explain(error, &self.asked("s3:AbortMultipartUpload", key));
            tracing::warn!(
                "parts of {key} are left in the bucket, invisible, until its lifecycle rules remove them: {error}"
            );
        }
    }

    async fn slot(&self) -> SemaphorePermit<'_> {
        // nobody closes the semaphore
        self.slots.acquire().await.expect("the semaphore is open")
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        // counts are right in any case
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many more bytes of an item are there.
    fn tell(&self, item: &Item, bytes: u64) {
        let state = &mut *self.state();
        state.bytes += bytes;
        (state.told)(Done { name: &item.name, bytes: state.bytes, total: self.total });
    }
}

/// Opens a file for reading no more than one byte beyond the item's size: that is enough to see that it has grown.
async fn open(path: &Path, item: &Item) -> Result<impl AsyncRead + Unpin + use<>, S3Error> {
    let file = tokio::fs::File::open(path).await.map_err(|source| S3Error::read(path, source))?;
    Ok(file.take(item.size.saturating_add(1)))
}

/// The next bytes, fewer than asked for only at the end.
async fn read(file: &mut (impl AsyncRead + Unpin), path: &Path, size: u64) -> Result<Bytes, S3Error> {
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).await.map_err(|source| S3Error::read(path, source))?;
    Ok(bytes.into())
}

/// The size of a file's parts: a whole number of MiB.
fn part_size(size: u64) -> u64 {
    // one byte more may be read
    let least = (size + 1).div_ceil(MAX_PARTS);
    least.next_multiple_of(1 << 20).max(PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_size_that_s3_takes_fit_into_its_parts() {
        for size in [0, 1, PART, PART + 1, PART * MAX_PARTS - 1, PART * MAX_PARTS, 1 << 40, 5 << 40] {
            let part = part_size(size);
            assert!(part >= PART && part.is_multiple_of(1 << 20), "{size}: {part}");
            assert!((size + 1).div_ceil(part) <= MAX_PARTS, "{size}: {part}");
            // no larger than needed: parts are in memory
            assert!(part == PART || (size + 1).div_ceil(part - (1 << 20)) > MAX_PARTS, "{size}: {part}");
        }
    }
}
