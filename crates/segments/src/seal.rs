//! Blocks become parts.

use std::sync::Arc;

use tidegate_observe::telemetry::{AT, Batch, Counts, Kind};

use crate::{
    catalogue::{self, BlockHead, PartRow},
    directory,
    error::SegmentsError,
    limits::{DAY_NANOS as DAY, GROUP_ROWS},
    part::{Part, PartWriter, Written},
    segments::{Core, House, Swap, nanos},
};

/// The longest plain form of a block that is read.
const PLAIN_BYTES_MAX: usize = 256 << 20;

/// What became of the recent records of a kind.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) rows: usize,
    pub(crate) damaged: Vec<String>,
}

/// Seals the recent records of a kind if they are due: old enough, or many enough. With `all`,
/// whatever there is.
pub(crate) fn seal(
    core: &Core,
    house: &mut House,
    kind: Kind,
    all: bool,
) -> Result<Sealed, SegmentsError> {
    let mut sealed = Sealed::default();
    loop {
        let heads = core.catalogue.ask(|it| catalogue::blocks(it, kind))?;
        if heads.is_empty() || !(all || is_due(core, &heads)) {
            return Ok(sealed);
        }
        let mut plain = 0;
        let enough = |it: &&BlockHead| {
            let more = plain < core.options.seal_bytes;
            plain += it.plain_bytes;
            more
        };
        let chosen: Vec<BlockHead> = heads.iter().take_while(enough).copied().collect();
        if !core.has_room(room(&chosen))? {
            return Ok(sealed); // what has to go first is still being read
        }
        seal_blocks(core, house, kind, &chosen, &mut sealed)?;
    }
}

fn is_due(core: &Core, heads: &[BlockHead]) -> bool {
    let plain: u64 = heads.iter().map(|it| it.plain_bytes).sum();
    let after = i64::try_from(core.options.seal_after.as_nanos()).unwrap_or(i64::MAX);
    let since = nanos(core.clock.now()).saturating_sub(after);
    let old = heads.first().is_some_and(|it| it.taken_at <= since);
    plain >= core.options.seal_bytes || old
}

/// More than a part of these blocks can take.
fn room(heads: &[BlockHead]) -> u64 {
    let plain: u64 = heads.iter().map(|it| it.plain_bytes).sum();
    plain + plain / 4 + (64 << 10)
}

fn seal_blocks(
    core: &Core,
    house: &mut House,
    kind: Kind,
    heads: &[BlockHead],
    sealed: &mut Sealed,
) -> Result<(), SegmentsError> {
    let mut batch = Batch::new(kind);
    for head in heads {
        let packed = core.catalogue.ask(|it| catalogue::records(it, head.id))?;
        match unpack(&packed) {
            Ok(block) if block.kind() == kind => batch.extend(&block, 0..block.rows()),
            Ok(_) => damaged(core, head.id, &packed, "another kind", sealed)?,
            Err(why) => damaged(core, head.id, &packed, &why, sealed)?,
        }
    }
    let mut swap = Swap {
        blocks: heads.iter().map(|it| it.id).collect(),
        ..Swap::default()
    };
    // A part for each day: it goes as a whole when that day is too old.
    let order = batch.by_time();
    let day = |row: &u32| {
        let row = usize::try_from(*row).unwrap_or(0);
        batch.integer(AT, row).unwrap_or(0).div_euclid(DAY)
    };
    for rows in order.chunk_by(|one, two| day(one) == day(two)) {
        let id = house.next();
        let written = write(core, id, &batch, rows)?;
        sealed.rows += written.rows;
        let row = PartRow { id, kind, level: 0 };
        let part = Part::open(&core.layout.parts, row, &core.space)?;
        swap.new.push(Arc::new(part));
    }
    core.publish(swap)
}

/// Writes a part of these rows, which are in the order of their times.
fn write(core: &Core, id: u64, batch: &Batch, rows: &[u32]) -> Result<Written, SegmentsError> {
    let mut writer = PartWriter::create(&core.layout.parts, batch.kind(), id)?;
    let written = rows.chunks(GROUP_ROWS).try_for_each(|rows| {
        let group = batch.gather(rows);
        writer.count(&Counts::of(&group));
        writer.group(&group)
    });
    match written {
        Ok(()) => writer.finish(Vec::new()),
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

fn damaged(
    core: &Core,
    id: i64,
    packed: &[u8],
    why: &str,
    sealed: &mut Sealed,
) -> Result<(), SegmentsError> {
    directory::keep_block(&core.layout, id, packed)?;
    let path = core.catalogue.path();
    let told = SegmentsError::damaged(path, format!("block {id}: {why}"));
    sealed.damaged.push(told.to_string());
    Ok(())
}

/// The records of a block.
pub(crate) fn unpack(packed: &[u8]) -> Result<Batch, String> {
    let plain = zstd::bulk::Decompressor::upper_bound(packed).unwrap_or(PLAIN_BYTES_MAX);
    if plain > PLAIN_BYTES_MAX {
        return Err("it is larger than any that is written".to_owned());
    }
    let plain = zstd::bulk::decompress(packed, plain).map_err(|it| it.to_string())?;
    Batch::decode(&plain).map_err(|it| it.to_string())
}

impl House {
    /// The id of a new part.
    pub(crate) fn next(&mut self) -> u64 {
        self.next_part += 1;
        self.next_part - 1
    }
}
