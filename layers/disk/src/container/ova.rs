//! An appliance (DMTF DSP0243, "Open Virtualization Format", 1.1): a tar of a descriptor, a manifest with the digests
//! of the other files, and the disk as a stream-optimised VMDK, in this order.
//!
//! Both texts have a fixed length, so that the disk can be written before what is said of it is known.

use std::io;

use bake_base::{FileBytes, Layout, ReadAt};

use super::in_order::{Encode, InOrder, Out};
use super::vmdk::{Reader, STREAM, Stream};
use super::{Chunk, Format, OpenError};

pub(super) const FORMAT: Format = Format {
    name: "ova",
    extension: "ova",
    plan: |disk| Ok(Box::new(InOrder::new(disk, Appliance::new(disk)?))),
    recognise: |file| Ok(first_name(file)?.is_some_and(|name| name.ends_with(b".ovf"))),
    open,
};

const RECORD: u64 = 512;
/// Room for the texts.
const DESCRIPTOR_LEN: u64 = 6 << 10;
const MANIFEST_LEN: u64 = RECORD;
const DESCRIPTOR: &str = "disk.ovf";
const MANIFEST: &str = "disk.mf";
const DISK: &str = "disk.vmdk";
/// Where the disk begins: behind two texts and three headers.
const DISK_START: u64 = 3 * RECORD + DESCRIPTOR_LEN + MANIFEST_LEN;
/// How many members are looked at to find a disk.
const MAX_MEMBERS: usize = 64;

struct Appliance {
    disk: Stream,
    capacity: u64,
}

impl Appliance {
    fn new(disk: &Layout) -> Result<Self, String> {
        Ok(Self { disk: Stream::new(disk)?, capacity: disk.len() })
    }

    /// Two processors, 4 GiB of memory, SATA and a network card that every Linux knows, started by UEFI.
    fn descriptor(&self, disk_len: u64) -> String {
        let capacity = self.capacity;
        let item = |fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(name, value)| format!("<rasd:{name}>{value}</rasd:{name}>"));
            format!("      <Item>{}</Item>\n", fields.collect::<String>())
        };
        let items = [
            item(&[
                ("AllocationUnits", "hertz * 10^6"),
                ("ElementName", "2 virtual CPUs"),
                ("InstanceID", "1"),
                ("ResourceType", "3"),
                ("VirtualQuantity", "2"),
            ]),
            item(&[
                ("AllocationUnits", "byte * 2^20"),
                ("ElementName", "4096 MB of memory"),
                ("InstanceID", "2"),
                ("ResourceType", "4"),
                ("VirtualQuantity", "4096"),
            ]),
            item(&[
                ("Address", "0"),
                ("ElementName", "SATA controller 0"),
                ("InstanceID", "3"),
                ("ResourceSubType", "AHCI"),
                ("ResourceType", "20"),
            ]),
            item(&[
                ("AddressOnParent", "0"),
                ("ElementName", "disk 0"),
                ("HostResource", "ovf:/disk/disk"),
                ("InstanceID", "4"),
                ("Parent", "3"),
                ("ResourceType", "17"),
            ]),
            item(&[
                ("AddressOnParent", "7"),
                ("AutomaticAllocation", "true"),
                ("Connection", "network"),
                ("ElementName", "network adapter 0"),
                ("InstanceID", "5"),
                ("ResourceSubType", "E1000"),
                ("ResourceType", "10"),
            ]),
        ];
        let mut text = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="{DISK}" ovf:id="file" ovf:size="{disk_len}"/>
  </References>
  <DiskSection>
    <Info>The disk</Info>
    <Disk ovf:capacity="{capacity}" ovf:diskId="disk" ovf:fileRef="file" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The network</Info>
    <Network ovf:name="network"><Description>Where the machine is reached</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="machine">
    <Info>A machine with this disk</Info>
    <OperatingSystemSection ovf:id="101" vmw:osType="otherLinux64Guest">
      <Info>Linux</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>What the machine is made of</Info>
      <System><vssd:ElementName>Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemIdentifier>machine</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#,
            items = items.concat()
        );
        text.extend(std::iter::repeat_n('\n', (DESCRIPTOR_LEN as usize).saturating_sub(text.len())));
        text
    }
}

fn header(name: &str, size: u64) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

impl Encode for Appliance {
    type Body = <Stream as Encode>::Body;
    type State = <Stream as Encode>::State;

    fn begin(&self, out: &mut Out<'_>) -> io::Result<Self::State> {
        out.put_zeros(DISK_START)?;
        out.start_part();
        self.disk.begin(out)
    }

    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Self::Body> {
        self.disk.encode(chunk)
    }

    fn append(
        &self,
        state: &mut Self::State,
        out: &mut Out<'_>,
        offset: u64,
        body: Self::Body,
    ) -> io::Result<()> {
        self.disk.append(state, out, offset, body)
    }

    fn end(&self, state: Self::State, out: &mut Out<'_>) -> io::Result<()> {
        self.disk.end(state, out)?;
        let (digest, len) = out.end_part();
        out.put_zeros(len.next_multiple_of(RECORD) - len + 2 * RECORD)?;
        let descriptor = self.descriptor(len);
        let sum = bake_base::Digest::of(descriptor.as_bytes());
        let manifest = format!("SHA256({DESCRIPTOR})= {sum}\nSHA256({DISK})= {digest}\n");
        let mut texts = Vec::new();
        for (name, text) in [(DESCRIPTOR, &descriptor), (MANIFEST, &manifest)] {
            texts.extend(header(name, text.len() as u64)?);
            texts.extend(text.as_bytes());
            texts.resize(texts.len().next_multiple_of(RECORD as usize), 0);
        }
        texts.extend(header(DISK, len)?);
        out.replace(0, &texts)
    }
}

/// The name, size and place of the member whose header lies here; nothing at the end of an archive.
fn member(file: &FileBytes, at: u64) -> io::Result<Option<(Vec<u8>, u64, u64)>> {
    let mut record = [0; RECORD as usize];
    if at.checked_add(RECORD).is_none_or(|end| end > file.len()) {
        return Ok(None);
    }
    file.read_exact_at(at, &mut record)?;
    let header = tar::Header::from_byte_slice(&record);
    if header.as_ustar().is_none() && header.as_gnu().is_none() {
        return Ok(None);
    }
    let Ok(size) = header.entry_size() else { return Ok(None) };
    Ok(Some((header.path_bytes().into_owned(), size, at + RECORD)))
}

fn first_name(file: &FileBytes) -> io::Result<Option<Vec<u8>>> {
    Ok(member(file, 0)?.map(|(name, _, _)| name))
}

fn open(file: FileBytes) -> Result<Box<dyn ReadAt>, OpenError> {
    let damaged = |problem: &str| OpenError::Damaged { format: FORMAT, problem: problem.to_owned() };
    let mut at = 0;
    for _ in 0..MAX_MEMBERS {
        let Some((name, size, start)) = member(&file, at)? else { break };
        let end = start.checked_add(size).filter(|end| *end <= file.len());
        let end = end.ok_or_else(|| damaged("a member is cut short"))?;
        if name.ends_with(b".vmdk") {
            return Ok(Box::new(Reader::new(Part { file, start, len: size }, STREAM)?));
        }
        at = end.checked_next_multiple_of(RECORD).ok_or_else(|| damaged("a member is too long"))?;
    }
    Err(damaged("it has no VMDK"))
}

/// Some bytes of a file.
#[derive(Debug)]
struct Part {
    file: FileBytes,
    start: u64,
    len: u64,
}

impl ReadAt for Part {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        super::fields::end(offset, buffer.len(), self.len)?;
        self.file.read_exact_at(self.start + offset, buffer)
    }
}
