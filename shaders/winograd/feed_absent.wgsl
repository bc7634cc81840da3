// In place of winograd/feed: no path, or one that shares the feed of another.

#import winograd/input_shape

const PRESENT: bool = false;

fn make(f: Feed, thread: u32) {
}
