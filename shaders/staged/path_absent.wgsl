// In place of staged/path: the layer does not have the path.

#import staged/tile

fn accumulate(sums: ptr<function, Sums>, p: PathShape, o: OutputShape, own: Owner, local: u32, slice: u32) {
}
