"""Objects in a probability map of any size: each connected object gets one id, whatever blocks it lies in.

1. *label*: each block is thresholded and its components are found (`pipeline.components`); sizes, first voxels and
   the six faces go into a record, with the block's own numbers, compressed.
2. *merge*: groups of up to 32 neighbours are merged, then groups of groups (`pipeline.label_tree`). Only objects that
   reach across a group's border are carried on; all others are decided, counted and written down.
3. *sort*: the first voxels of the objects that get a number are sorted, in parts (`pipeline.label_numbers`). An
   object's id is its place in that list: ids follow the first voxel in C order of (z, y, x), per time step.
4. *relabel*: each block's own numbers are replaced by ids, once.

Every step is an idempotent task that writes one file, so a run may be killed anywhere and goes on.

::

    plan = plan_labels(image, block, thresholding, connectivity="face" | "full", renumber=True)     -> LabelPlan
        image, block: of pipeline.blocks, (t, z, y, x); errors are PlanErrors. plan.blocks() -> boxes; plan.halo_zyx,
        plan.n_tasks, plan.task_bytes, plan.digest (of all that decides ids, the probabilities apart)

    label_volume(client, source, plan, scratch, write, *, key, progress, is_written=None, cancelled=None) -> LabelSummary
        source: anything picklable with ``read(box) -> (t, c, z, y, x)``: a Volume, or your own over a Store
        scratch: Path of a folder for records, made here, kept for a run that goes on; remove it when all is done
        write: picklable; called in a worker with (box, labels (t, z, y, x) uint64), once for each block, or again
        key: names the tasks: the digest of data and settings, and the run's token
        is_written: asked here, box by box, which blocks need no relabelling any more

    label_frame(prob, thresholding, *, connectivity="face", renumber=True, dtype="uint64")      -> (labels, LabelSummary)
        prob (c, z, y, x), in memory and whole -> labels (z, y, x). ``dtype="uint32"`` with
        ``Thresholding.old_service(channel, threshold, sigma)`` is the old service: its numbers, x fastest, are the same.

    LabelSummary: objects (per time step), found, kept, too_small, too_large, without_core, cores_too_small,
        cores_too_large, min_size, max_size; str() is the sentence for the person.

    pipeline.segment(prob, ...) is the lazy way (`pipeline.lazy_labels`).
"""
