//! The handle behind every store trait: changes go to the writer, reads to the reader threads.

use std::sync::Arc;

use gimlet_core::page::ListPage;
use gimlet_core::store::StoreError;

use crate::error::EngineError;
use crate::readers::ReaderPool;
use crate::rows::RowView;
use crate::shared::SharedState;
use crate::space::SpaceEffect;
use crate::txn::WriteTransaction;
use crate::writer::TreeWriter;

/// An open directory. Each file of this crate implements one of the traits for it. After the last
/// handle is dropped, every accepted change is on disk.
#[derive(Debug)]
pub(crate) struct SledStore {
    // The writer and the readers are dropped first: their drops wait for the threads, which hold
    // `shared`.
    pub(crate) writer: TreeWriter,
    pub(crate) readers: ReaderPool,
    pub(crate) shared: Arc<SharedState>,
}

impl Drop for SledStore {
    /// Opens the tests' gate: the writer may be blocked at it, and its drop, which follows, waits
    /// for it.
    fn drop(&mut self) {
        self.shared.gate.release();
    }
}

impl SledStore {
    /// Makes a change durably, on the writer's thread.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        op: &'static str,
        weight: SpaceEffect,
        change: impl FnOnce(&mut WriteTransaction<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let outcome = self.writer.change(weight, change).await;
        outcome.map_err(|fault| fault.of(op))
    }

    /// Reads one durable state.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        op: &'static str,
        read: impl FnOnce(&RowView<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.with(op, |shared| shared.durable(read)).await
    }

    /// Runs a read of several steps on a reader thread, where it may block.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        op: &'static str,
        read: impl FnOnce(&SharedState) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let outcome = self.readers.read(read).await;
        outcome.map_err(|fault| fault.of(op))
    }
}

/// Takes a page of at most `limit` items (at least one) from an ordered list.
pub(crate) fn page<T>(
    mut items: impl Iterator<Item = Result<T, EngineError>>,
    limit: usize,
) -> Result<ListPage<T>, EngineError> {
    let taken = items
        .by_ref()
        .take(limit.max(1))
        .collect::<Result<_, _>>()?;
    let more = items.next().transpose()?.is_some();
    Ok(ListPage { items: taken, more })
}

/// Sets a field if a value is given.
pub(crate) fn set(field: &mut String, value: Option<&str>) {
    if let Some(value) = value {
        value.clone_into(field);
    }
}
