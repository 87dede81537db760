use std::io::Read;

use bake_base::LayoutBuilder;

use super::*;

/// Zeros at both ends, a short last block, and content over the edge of a block.
fn disk() -> Layout {
    let mut builder = LayoutBuilder::new();
    builder.push_bytes(3 * BLOCK_SIZE - 1000, (0..200_000_u32).map(|at| (at / 7) as u8).collect());
    builder.finish(6 * BLOCK_SIZE + 4096).unwrap()
}

fn written(format: Format, threads: usize) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    super::super::write(&disk(), &[(format, &file)], threads, &|_| ()).unwrap();
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_gzip_file_has_one_member_which_every_decoder_reads() {
    let bytes = written(GZ, 3);
    let mut decoder = flate2::bufread::GzDecoder::new(&bytes[..]);
    let mut content = Vec::new();
    decoder.read_to_end(&mut content).unwrap();
    assert!(decoder.into_inner().is_empty(), "something follows the first member");
    let mut expected = vec![0; disk().len() as usize];
    bake_base::ReadAt::read_exact_at(&disk(), 0, &mut expected).unwrap();
    assert!(content == expected);
}

/// A decoder that goes on with further streams cannot tell whether one is missing.
#[test]
fn an_xz_file_has_one_stream_so_that_no_cut_is_taken_for_its_end() {
    let bytes = written(XZ, 3);
    let mut content = Vec::new();
    let mut decoder = xz2::bufread::XzDecoder::new(&bytes[..]);
    assert_eq!(decoder.read_to_end(&mut content).unwrap() as u64, disk().len());
    assert!(decoder.into_inner().is_empty(), "something follows the first stream");
    for cut in (7..bytes.len()).step_by(7).chain(bytes.len() - 40..bytes.len()) {
        let mut decoder = xz2::bufread::XzDecoder::new_multi_decoder(&bytes[..cut]);
        assert!(decoder.read_to_end(&mut Vec::new()).is_err(), "cut to {cut}");
    }
}

/// More records than one byte can count.
#[test]
fn an_index_of_many_blocks_is_right() {
    let disk = LayoutBuilder::new().finish(300 * BLOCK_SIZE).unwrap();
    let file = tempfile::tempfile().unwrap();
    super::super::write(&disk, &[(XZ, &file)], 1, &|_| ()).unwrap();
    let opened = super::super::open(file).unwrap();
    assert_eq!((opened.format, opened.disk.len()), (XZ, disk.len()));
}

#[test]
fn bytes_are_the_same_for_any_number_of_threads() {
    for format in [GZ, XZ, ZST] {
        assert!(written(format, 1) == written(format, 4), "{format}");
    }
}

#[test]
fn a_wrong_checksum_is_an_error() {
    use std::os::unix::fs::FileExt;
    for format in [GZ, XZ, ZST] {
        let file = tempfile::tempfile().unwrap();
        let mut bytes = written(format, 1);
        let at = bytes.len() - 6;
        bytes[at] ^= 1;
        file.write_all_at(&bytes, 0).unwrap();
        assert!(super::super::open(file).is_err(), "{format}");
    }
}

#[test]
fn an_empty_disk_is_a_stream_too() {
    let disk = LayoutBuilder::new().finish(0).unwrap();
    for format in [GZ, XZ, ZST] {
        let file = tempfile::tempfile().unwrap();
        super::super::write(&disk, &[(format, &file)], 1, &|_| ()).unwrap();
        let opened = super::super::open(file).unwrap();
        assert_eq!((opened.format, opened.disk.len()), (format, 0));
    }
}
