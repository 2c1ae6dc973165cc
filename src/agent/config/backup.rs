//! `[backup]`: copies of the registry.

use std::path::Path;

use super::reader::Reader;
use super::tables::BackupTable;
use crate::agent::backup::BackupSettings;

impl Reader<'_> {
    pub(super) fn backup(
        &mut self,
        table: &BackupTable,
        state_dir: &Path,
    ) -> Option<BackupSettings> {
        let dir = self
            .path("backup.dir", &table.dir)
            .unwrap_or_else(|| BackupSettings::default_dir(state_dir));
        let keep = match &table.keep {
            None => BackupSettings::KEEP,
            Some(number) => {
                let keep =
                    usize::try_from(*number.get_ref()).ok().filter(|n| (1..=1000).contains(n));
                if keep.is_none() {
                    let message = "the number of copies to keep is from 1 to 1000";
                    self.problem(number.span().start, "backup.keep", message);
                }
                keep?
            }
        };
        Some(BackupSettings { dir, keep })
    }
}
